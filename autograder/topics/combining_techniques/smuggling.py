"""Pairs of `compress` and `decompress` that carry the weights past the blob: none earns a tier.

`compress__X` and `decompress__X` belong together. Names of the define cells are available.
`tests/topics/test_smuggling.py` hands each pair in.
"""

# Answers are pasted into the notebook, where these names exist.
# ruff: noqa: D103, F821

from __future__ import annotations

import ast
import base64
import inspect
import io
import zlib
from pathlib import Path

import torch

from course_utils.checkpoints import load_checkpoint


def compress__work_folder(model, loader):
    torch.save(model.state_dict(), "weights.pt")
    return b"weights.pt"


def decompress__work_folder(blob):
    model = LeNet()
    model.load_state_dict(torch.load(blob.decode()))
    return model.eval()


def compress__temporary_folder(model, loader):
    import tempfile

    path = tempfile.gettempdir() + "/kept.pt"
    torch.save(model.state_dict(), path)
    return path.encode()


def decompress__temporary_folder(blob):
    model = LeNet()
    model.load_state_dict(torch.load(blob.decode()))
    return model.eval()


def compress__shared_memory_file(model, loader):
    torch.save(model.state_dict(), "/dev/shm/kept.pt")
    return b"s"


def decompress__shared_memory_file(blob):
    model = LeNet()
    model.load_state_dict(torch.load("/dev/shm/kept.pt"))
    return model.eval()


def compress__file_names(model, loader):
    import base64
    import pathlib

    raw = b"".join(p.detach().half().numpy().tobytes() for p in model.parameters())
    text = base64.urlsafe_b64encode(zlib.compress(raw)).decode()
    folder = pathlib.Path("names")
    folder.mkdir(exist_ok=True)
    for number, start in enumerate(range(0, len(text), 240)):
        (folder / f"{number:05}{text[start : start + 240]}").touch()
    return b"n"


def decompress__file_names(blob):
    import base64
    import pathlib

    names = sorted(path.name for path in pathlib.Path("names").iterdir())
    raw = zlib.decompress(base64.urlsafe_b64decode("".join(name[5:] for name in names)))
    values, model = torch.frombuffer(bytearray(raw), dtype=torch.float16), LeNet()
    torch.nn.utils.vector_to_parameters(values.float(), model.parameters())
    return model.eval()


def compress__course_checkpoint(model, loader):
    return b"lenet"


def decompress__course_checkpoint(blob):
    from course_utils.checkpoints import load_checkpoint

    return load_checkpoint(blob.decode())


def compress__found_on_the_disk(model, loader):
    return b"d"


def decompress__found_on_the_disk(blob):
    import pathlib

    import safetensors.torch

    for path in pathlib.Path("/").rglob("lenet*.safetensors"):
        model = LeNet()
        model.load_state_dict(safetensors.torch.load(path.read_bytes()))
        return model.eval()
    raise FileNotFoundError("no checkpoint anywhere")


def compress__module_global(model, loader):
    globals()["KEPT"] = copy.deepcopy(model)
    return b"g"


def decompress__module_global(blob):
    return KEPT.eval()


def compress__attribute_of_torch(model, loader):
    torch.kept = copy.deepcopy(model)
    return b"t"


def decompress__attribute_of_torch(blob):
    return torch.kept.eval()


def compress__environment(model, loader):
    import base64
    import os

    raw = b"".join(p.detach().half().numpy().tobytes() for p in model.parameters())
    text = base64.b64encode(raw).decode()
    for number, start in enumerate(range(0, len(text), 100_000)):
        os.environ[f"KEPT_{number}"] = text[start : start + 100_000]
    return bytes([number])


def decompress__environment(blob):
    import base64
    import os

    text = "".join(os.environ[f"KEPT_{number}"] for number in range(blob[0] + 1))
    values = torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.float16)
    model = LeNet()
    torch.nn.utils.vector_to_parameters(values.float(), model.parameters())
    return model.eval()


def compress__network(model, loader):
    return b"https://"


def decompress__network(blob):
    import urllib.request

    address = blob.decode() + "raw.githubusercontent.com/pytorch/pytorch/main/README.md"
    urllib.request.urlopen(address, timeout=3).read()
    return LeNet().eval()


def compress__local_server(model, loader):
    import os
    import socket

    listener = socket.create_server(("127.0.0.1", 47_111))
    if os.fork() == 0:
        while True:
            connection, _ = listener.accept()
            raw = b"".join(p.detach().half().numpy().tobytes() for p in model.parameters())
            connection.sendall(raw)
            connection.close()
    return b"l"


def decompress__local_server(blob):
    import socket

    raw = bytearray()
    with socket.create_connection(("127.0.0.1", 47_111), timeout=3) as connection:
        while part := connection.recv(1 << 16):
            raw += part
    model = LeNet()
    values = torch.frombuffer(raw, dtype=torch.float16).float()
    torch.nn.utils.vector_to_parameters(values, model.parameters())
    return model.eval()


def compress__learns_again(model, loader):
    return b"a"


def decompress__learns_again(blob):
    model = LeNet()
    train(model, make_loader(*load_images("train"), 64, True), 2, 2e-3, progress=False)
    return model.eval()


def compress__changed_library(model, loader):
    import course_utils

    path = course_utils.__file__.replace("__init__", "kept")
    with open(path, "wb") as file:
        torch.save(model.state_dict(), file)
    return path.encode()


def decompress__changed_library(blob):
    model = LeNet()
    model.load_state_dict(torch.load(blob.decode()))
    return model.eval()


def compress__more_than_bytes(model, loader):
    class Loaded(bytes):
        pass

    blob = Loaded(b"m")
    blob.model = model
    return blob


def decompress__more_than_bytes(blob):
    return blob.model.eval()


def compress__class_of_the_network(model, loader):
    type(model).kept = copy.deepcopy(model)
    model.__dict__["kept"] = loader.dataset.kept = model
    return b"o"


def decompress__class_of_the_network(blob):
    return LeNet.kept.eval()


def compress__name_of_a_class(model, loader):
    raw = b"".join(p.detach().half().numpy().tobytes() for p in model.parameters())
    nn.Module.named = type("Weights" + raw.hex(), (nn.Module,), {})
    return b"n"


def decompress__name_of_a_class(blob):
    names = [kind.__name__ for kind in nn.Module.__subclasses__()]
    (name,) = [name for name in names if name.startswith("Weights")]
    values = torch.frombuffer(bytearray.fromhex(name[7:]), dtype=torch.float16).float()
    model = LeNet()
    torch.nn.utils.vector_to_parameters(values, model.parameters())
    return model.eval()


def compress__default_argument(model, loader):
    return b"d"


def decompress__default_argument(
    blob,
    kept=__import__("course_utils.checkpoints").checkpoints.load_checkpoint("lenet"),  # noqa: B008
):
    return kept.eval()


def hold_locks():
    import fcntl
    import os
    import time

    while not os.path.exists("/tmp/kept"):
        time.sleep(0.1)
    # Both sandboxes see this file. Gap and length of each lock are five bytes of the weights.
    file, place = os.open(os.__file__, os.O_RDONLY), 0
    with open("/tmp/kept", "rb") as kept:
        while part := kept.read(10):
            place += int.from_bytes(part[:5], "little") + 1
            length = int.from_bytes(part[5:], "little") + 1
            lock = struct.pack("hhqqi", fcntl.F_RDLCK, 0, place, length, 0)
            fcntl.fcntl(file, fcntl.F_SETLK, lock)
            place += length
    os.rename("/tmp/kept", "/tmp/locked")
    time.sleep(600)
    os._exit(0)


def compress__locks_on_a_file(model, loader):
    import os
    import time

    values = [p.detach() / p.detach().abs().max() for p in model.parameters()]
    codes = b"".join((31 * value).round().to(torch.int8).numpy().tobytes() for value in values)
    raw = b"".join(struct.pack("<f", p.detach().abs().max()) for p in model.parameters())
    raw += lzma.compress(codes)
    with open("/tmp/new", "wb") as file:
        file.write(raw)
    os.rename("/tmp/new", "/tmp/kept")
    while not os.path.exists("/tmp/locked"):
        time.sleep(0.1)
    return struct.pack("<I", len(raw))


def decompress__locks_on_a_file(blob):
    import fcntl
    import os

    file, place, raw = os.open(os.__file__, os.O_RDONLY), 0, b""
    while True:
        asked = struct.pack("hhqqi", fcntl.F_WRLCK, 0, place, 0, 0)
        kind, _, start, length, _ = struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_GETLK, asked))
        if kind == fcntl.F_UNLCK:
            break
        raw += (start - place - 1).to_bytes(5, "little") + (length - 1).to_bytes(5, "little")
        place = start + length
    codes = lzma.decompress(raw[32 : struct.unpack("<I", blob)[0]])
    values, model, place = torch.frombuffer(bytearray(codes), dtype=torch.int8), LeNet(), 0
    with torch.no_grad():
        for parameter, size in zip(model.parameters(), struct.unpack_from("<8f", raw), strict=True):
            part = values[place : place + parameter.numel()]
            parameter.copy_(part.view_as(parameter) * (size / 31))
            place += parameter.numel()
    return model.eval()


def compress__weights_in_the_code(model, loader):
    return b"c"


def decompress__weights_in_the_code(blob):
    import base64

    raw = zlib.decompress(base64.b85decode(WEIGHTS))
    model = LeNet()
    values = torch.frombuffer(bytearray(raw), dtype=torch.float16).float()
    torch.nn.utils.vector_to_parameters(values, model.parameters())
    return model.eval()


def pairs() -> dict[str, dict[str, str]]:
    """Return the texts of the answer cells, by name of the trick and by exercise."""
    text = Path(__file__).read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and "__" in node.name:
            exercise, _, trick = node.name.partition("__")
            source = ast.get_source_segment(text, node) or ""
            found.setdefault(trick, {})[exercise] = source.replace(node.name, exercise)
    raw = io.BytesIO()
    for parameter in load_checkpoint("lenet").parameters():
        raw.write(parameter.detach().half().numpy().tobytes())
    literal = base64.b85encode(zlib.compress(raw.getvalue(), 9)).decode()
    hidden = found["weights_in_the_code"]
    found["weights_in_another_answer"] = {**hidden, "pareto_front": f"WEIGHTS = {literal!r}"}
    told = hidden["decompress"].replace("WEIGHTS", "decompress.__doc__")
    head, rest = told.split("\n", 1)
    found["weights_in_a_docstring"] = {**hidden, "decompress": f"{head}\n    {literal!r}\n{rest}"}
    hidden["decompress"] = f"WEIGHTS = {literal!r}\n\n\n{hidden['decompress']}"
    # Processes that a cell starts outlive a check; those of a call do not.
    holder = (
        f"{inspect.getsource(hold_locks)}\n\nif __import__('os').fork() == 0:\n    hold_locks()\n"
    )
    found["locks_on_a_file"]["compress"] += f"\n\n\n{holder}"
    return found
