"""What was computed comes back after a restart, and only when nothing has changed."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from course_utils import remembering

SCRIPT = '''
import functools
import time
import torch
from torch import nn
from torch.utils.data import DataLoader
from course_utils import remembering
from course_utils.data import make_loader
from course_utils.remembering import remember

remembering.SHORTEST_SECONDS = 0.0
RATE = 0.5
WORDS = ("a", "b")


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x):
        return self.fc(x)


def helper(x):
    return x * RATE if "a" in {"a", "b"} else x


@functools.cache
def factor():
    return 3


def again(n):
    return again(n - 1) if n else WORDS


def tune(model, loader, lr):
    """Say that it ran, and change the model."""
    print("really ran")
    again(2)
    lr = lr * factor()
    for images, _ in loader:
        model = Own()
        model.fc.weight.data += helper(images.mean()) * lr + torch.rand(())
    return model, [lr]


torch.manual_seed(0)
loader = make_loader(torch.ones(6, 2), torch.zeros(6, dtype=torch.int64), 2, shuffle=True)
model, history = remember(tune, Own(), loader, lr=0.1)
print("result", model.fc.weight.tolist(), history, torch.rand(1).item(), type(model).__name__)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESSION_COURSE_FOLDER", str(tmp_path / "kept"))
    return tmp_path


@pytest.fixture
def run(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Run a script as a notebook would, and return what it prints."""

    def run_script(script: str = SCRIPT) -> str:
        path = folder / "notebook.py"
        path.write_text(script)
        for name in ("SHORTEST_SECONDS", "MOST_BYTES"):
            monkeypatch.setattr(remembering, name, getattr(remembering, name))
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run_script


def restarted(folder: Path, hash_seed: str) -> str:
    path = folder / "notebook.py"
    path.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, path],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def result(text: str) -> str:
    return text[text.index("result") :]


def test_it_comes_back_after_a_restart(folder: Path) -> None:
    text, again = restarted(folder, "1"), restarted(folder, "2")
    assert "really ran" in text
    assert "really ran" not in again
    assert again.count("tune: remembered from") == 1
    # The random numbers go on as after the real call.
    assert result(again) == result(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* lr +", "* lr -"),
        ("RATE = 0.5", "RATE = 0.25"),
        ("return x *", "return 2 * x *"),
        ("return self.fc(x)", "return self.fc(2 * x)"),
        ("lr=0.1", "lr=0.2"),
        ("manual_seed(0)", "manual_seed(1)"),
        ("torch.ones(6", "torch.full((6, 2), 3.0)[:6] + torch.zeros(6"),
        ("shuffle=True", "shuffle=False"),
        ('WORDS = ("a"', 'WORDS = ("c"'),
        ("return 3", "return 4"),
        (
            "model, history = remember(tune, Own()",
            "own = Own()\nown.fc.weight.grad = torch.ones(2, 2)\n"
            "model, history = remember(tune, own",
        ),
    ],
)
def test_any_change_computes_anew(run: Callable[..., str], old: str, new: str) -> None:
    assert "really ran" in run()
    assert "really ran" not in run()
    assert old in SCRIPT
    assert "really ran" in run(SCRIPT.replace(old, new))


def test_another_release_of_the_course_computes_anew(
    run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    monkeypatch.setattr(remembering, "_course_code", lambda: "another")
    assert "really ran" in run()


def test_a_function_without_a_name(run: Callable[..., str]) -> None:
    call, partial = "remember(tune, Own(), loader, lr=0.1)", "functools.partial(tune, lr=0.1)"
    script = SCRIPT.replace(call, f"remember({partial}, Own(), loader)")
    assert script != SCRIPT
    assert "really ran" in run(script)
    again = run(script)
    assert "really ran" not in again
    assert "remembered from" in again


def test_a_damaged_file_is_computed_anew(run: Callable[..., str], folder: Path) -> None:
    text = run()
    (path,) = (folder / "kept" / "remembered").glob("*.pt")
    path.write_bytes(path.read_bytes()[:100])
    again = run()
    assert "really ran" in again
    assert result(again) == result(text)
    assert "really ran" not in run()


def test_what_cannot_be_kept_is_just_computed(run: Callable[..., str]) -> None:
    script = SCRIPT.replace("return model, [lr]", "return model, (yes for yes in [])")
    assert "really ran" in run(script)
    assert "really ran" in run(script)
    script = SCRIPT.replace("Own(), loader", "Own(), (batch for batch in loader)")
    assert "really ran" in run(script)
    assert "really ran" in run(script)


def test_a_folder_that_cannot_be_written_costs_nothing(
    run: Callable[..., str], folder: Path
) -> None:
    (folder / "kept").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="could not be kept"):
        assert "really ran" in run()


def test_old_results_make_room(run: Callable[..., str], folder: Path) -> None:
    run()
    small = SCRIPT.replace("0.0\n", "0.0\nremembering.MOST_BYTES = 1\n", 1)
    run(small.replace("lr=0.1", "lr=0.3"))
    assert len(list((folder / "kept" / "remembered").glob("*.pt"))) == 1


def test_forget(run: Callable[..., str]) -> None:
    run()
    assert remembering.forget() == 1
    assert "really ran" in run()
