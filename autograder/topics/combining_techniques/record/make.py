"""Makes the recorded best of the byte challenge: a small network, distilled, quantized, coded.

    python -m autograder.topics.combining_techniques.record.make

It needs the full training set (58,000 images; the validation images are left out): set
COURSE_FASHION_MNIST to a folder with the four IDX files, or let it download them. It writes
`best.bin` and `record.toml`. Nothing is chosen by the hidden images: they are read once, at the
end. The same seeds, the same versions and one thread give the same bytes.

1. The teacher: both trained networks of the course, LeNet and the batch-norm CNN, vote together.
2. The student: a batch-norm CNN that begins with the checkpoint's weights. It learns from labels
   and teacher, with mirrored and moved images, while its weights are rounded to 3 or 4 bits
   (distillation and quantization-aware training with learnt steps).
3. Batch normalisation is folded, and the codes are written as one large number (ANS).
"""

from __future__ import annotations

import copy
import datetime
import platform
import resource
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autograder.judge.course import Course
from autograder.topics.combining_techniques.record.answer import decompress
from course_utils.data import load_images
from course_utils.evaluation import predict
from course_utils.models import BatchNormCNN
from course_utils.training import train

FOLDER = Path(__file__).resolve().parent
BITS = {"conv1": 4, "conv2": 3, "conv3": 3, "fc": 4}
TEMPERATURE = 2.0
ALPHA = 0.3
LEARNING_RATE = 4e-3
BASE_BYTES = 1_725_032  # of LeNet's file


@dataclass
class Augmented:
    """A loader whose images are mirrored and moved by a pixel at random.

    Args:
        images: (N, 1, 28, 28).
        targets: (2, N, ...), for the images as they are and for their mirror images.
        batch_size: Images per batch.
        seed: Of order and augmentation.
    """

    images: Tensor
    targets: Tensor
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        self._generator = torch.Generator().manual_seed(self.seed)

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        background = float(self.images.min())
        order = torch.randperm(len(self.images), generator=self._generator)
        for chosen in order.split(self.batch_size):
            mirrored = torch.randint(2, (len(chosen),), generator=self._generator)
            down, right = torch.randint(3, (2,), generator=self._generator).tolist()
            images = self.images[chosen]
            images = torch.where(mirrored.bool().view(-1, 1, 1, 1), images.flip(3), images)
            images = F.pad(images, (1, 1, 1, 1), value=background)
            yield images[:, :, down : down + 28, right : right + 28], self.targets[mirrored, chosen]


class Ensemble(nn.Module):
    """Gives the mean of several networks' logits."""

    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10) of images (N, 1, 28, 28)."""
        return torch.stack([member(images) for member in self.members]).mean(0)


class LearntStep(nn.Module):
    """Rounds a weight to codes -n .. n times a step for each output channel; the steps learn.

    Source:
        Esser et al. 2020, Learned Step Size Quantization.
    """

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.largest = 2 ** (bits - 1) - 1
        first = weight.detach().abs().flatten(1).mean(1) * 2 / self.largest**0.5
        self.step = nn.Parameter(first.view(-1, *[1] * (weight.dim() - 1)))
        self.slowness = (self.largest * weight[0].numel()) ** -0.5

    def codes(self, weight: Tensor) -> Tensor:
        """Return the whole numbers that stand for a weight, as floats."""
        return (weight / self.step).round().clamp(-self.largest, self.largest)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the rounded weight; rounding lets the gradient through."""
        step = self.step * self.slowness + (self.step * (1 - self.slowness)).detach()
        x = (weight / step).clamp(-self.largest, self.largest)
        return (x + (x.round() - x).detach()) * step


def distillation_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mixed loss; `targets` (N, 11) holds the teacher's logits and the label."""
    teacher, labels = targets[:, :10], targets[:, 10].long()
    log_p = F.log_softmax(logits / TEMPERATURE, dim=1)
    soft = F.kl_div(log_p, (teacher / TEMPERATURE).softmax(1), reduction="batchmean")
    return ALPHA * F.cross_entropy(logits, labels) + (1 - ALPHA) * TEMPERATURE**2 * soft


def with_teacher(teacher: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the targets (2, N, 11) of `distillation_loss`."""
    views = (images, images.flip(3))
    return torch.stack([torch.cat([predict(teacher, v), labels[:, None]], 1) for v in views])


def quantization_aware(model: BatchNormCNN) -> BatchNormCNN:
    """Return a copy whose weights are rounded in every forward pass."""
    model = copy.deepcopy(model)
    for name, bits in BITS.items():
        layer = model.get_submodule(name)
        parametrize.register_parametrization(layer, "weight", LearntStep(layer.weight, bits))
    return model


def folded(model: BatchNormCNN) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return codes, scale and shift of every layer, batch normalisation folded in."""
    parts = []
    for name in BITS:
        layer = model.get_submodule(name)
        rounding = layer.parametrizations.weight[0]
        codes = rounding.codes(layer.parametrizations.weight.original).detach()
        scale = rounding.step.detach().flatten()
        if name == "fc":
            parts.append((codes, scale, layer.bias.detach()))
            continue
        norm = model.get_submodule(name.replace("conv", "bn"))
        factor = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
        parts.append((codes, scale * factor, norm.bias.detach() - norm.running_mean * factor))
    return parts


def encode(model: BatchNormCNN) -> bytes:
    """Return the blob that `decompress` reads; see there for its form."""
    parts = folded(model)
    head = bytearray(model.config["channels"])
    state, layers = 1, []
    for codes, scale, shift in parts:
        largest = int(codes.abs().max())
        symbols = (codes.flatten().int() + largest).tolist()
        counts = torch.bincount(torch.tensor(symbols), minlength=2 * largest + 1)
        starts = (counts.cumsum(0) - counts).tolist()
        layers.append((symbols, counts.tolist(), starts))
        head += bytes([largest]) + counts.to(torch.uint16).numpy().tobytes()
        head += scale.half().numpy().tobytes() + shift.half().numpy().tobytes()
    for symbols, counts, starts in reversed(layers):  # what is written last is read first
        for symbol in reversed(symbols):
            state, slot = divmod(state, counts[symbol])
            state = state * len(symbols) + starts[symbol] + slot
    return bytes(head) + state.to_bytes(-(-state.bit_length() // 8), "little")


def accuracies(model: nn.Module) -> dict[str, float]:
    """Return the accuracy on the images students have, and on the hidden ones."""
    course, found = Course(), {}
    for split in ("validation", "test", "grading"):
        images, labels = course.images(split)
        found[split] = float((predict(model, images).argmax(1) == labels).double().mean())
    return found


def main(epochs: int = 14, limit: int = 58_000, seed: int = 0, folder: Path = FOLDER) -> None:
    """Train, write `best.bin` and `record.toml`, and say how good they are."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    started = time.process_time()
    course = Course()
    images, labels = (part[:limit] for part in load_images("train", full=True))

    student = course.checkpoint("batch_norm_cnn")
    teacher = Ensemble(course.checkpoint("lenet"), student).eval()
    report("teacher", teacher, started)
    targets = with_teacher(teacher, images, labels)

    model = quantization_aware(student)
    report("rounded, not trained", model, started)
    loader = Augmented(images, targets, 128, seed)
    train(model, loader, epochs, LEARNING_RATE, loss_function=distillation_loss)
    report("rounded and trained", model, started)

    blob = encode(model)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "best.bin").write_bytes(blob)
    text = record(blob, time.process_time() - started)
    (folder / "record.toml").write_text(text, encoding="utf-8")
    print(text)


def report(what: str, model: nn.Module, started: float) -> None:
    """Print the accuracy on the validation images, which every choice here was made by."""
    images, labels = load_images("validation")
    right = float((predict(model, images).argmax(1) == labels).double().mean())
    print(f"{what}: {right:.2%} after {time.process_time() - started:.0f} s", flush=True)


def record(blob: bytes, seconds: float) -> str:
    """Return the text of `record.toml`."""
    course = Course()
    base, best = accuracies(course.checkpoint("lenet")), accuracies(decompress(blob))
    lines = [
        "# Written by `python -m autograder.topics.combining_techniques.record.make`.",
        f"bytes = {len(blob)}",
        f"code_bytes = {len(zlib.compress((FOLDER / 'answer.py').read_bytes(), 9))}",
        f"base_bytes = {BASE_BYTES}",
        f"ratio = {BASE_BYTES / len(blob):.1f}  # without code",
        f"points_lost_on_hidden_images = {100 * (base['grading'] - best['grading']):.2f}",
        f"cpu_seconds = {seconds:.0f}",
        f"peak_mib = {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}",
        f'command = "{" ".join(["python -m", __spec__.name, *sys.argv[1:]])}"',
        f"date = {datetime.date.today().isoformat()}",
        f'torch = "{torch.__version__}"',
        f'python = "{platform.python_version()}"',
        f'machine = "{platform.system()} {platform.machine()}, one thread"',
    ]
    for name, found in (("base", base), ("best", best)):
        lines += ["", f"[accuracy.{name}]"]
        lines += [f"{split} = {value:.5f}" for split, value in found.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
