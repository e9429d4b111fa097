"""What students get: complete, installable, and with nothing that they should not see."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from autograder.authoring.answers import load_alternatives, load_mistakes
from autograder.authoring.build import leaked_lines, student_notebook
from autograder.authoring.datasets import GRADING_IMAGES
from autograder.authoring.opening import SETUP
from autograder.authoring.source import load_source, topics_in_order
from autograder.classroom.release import FOLDER, README, build_wheel, pack
from autograder.settings import REPOSITORY, topic_folder
from course_utils.data import SUBSET

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BINARY = (".npz", ".safetensors")
WORD = re.compile(rb"[A-Za-z_]\w+", re.ASCII)
COMMAND = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(archive: Path) -> Path:
    return build_wheel(archive)


@pytest.fixture(scope="module")
def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as packed:
        return {name.partition("/")[2]: packed.read(name) for name in packed.namelist()}


@pytest.fixture(scope="module")
def words(contents: dict[str, bytes]) -> set[str]:
    readable = (content for name, content in contents.items() if not name.endswith(BINARY))
    return {word.decode() for content in readable for word in set(WORD.findall(content))}


def test_it_is_complete(contents: dict[str, bytes], archive: Path) -> None:
    assert {"README.md", "environment.yml", "constraints.txt", "pyproject.toml"} <= set(contents)
    for topic in topics_in_order():
        name = f"{load_source(topic).notebook_name}.ipynb"
        assert {f"notebooks/{name}", f"notebooks/zh-TW/{name}"} <= set(contents)
    assert "notebooks/exam_practice.ipynb" in contents
    project = tomllib.loads(contents["pyproject.toml"].decode())["project"]
    assert project["dependencies"] == PROJECT["dependencies"]
    before = archive.read_bytes()
    assert pack(archive.parent).read_bytes() == before


def test_nothing_of_the_autograder_is_in_it(contents: dict[str, bytes]) -> None:
    assert not any("autograder" in name for name in contents)
    everything = b"\n".join(contents.values())
    assert b"BEGIN SOLUTION" not in everything
    assert b"import autograder" not in everything
    assert b"from autograder" not in everything


@pytest.mark.parametrize("topic", topics_in_order())
def test_no_solution_and_no_hidden_check_is_in_it(topic: str, words: set[str]) -> None:
    source = load_source(topic)
    for language in source.languages:
        assert leaked_lines(source, student_notebook(source.in_language(language))) == []
    names = [
        name
        for path in topic_folder(topic).glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    # What only the hidden side says; a hint may repeat what a notebook teaches.
    answers = [*load_mistakes(topic), *load_alternatives(topic)]
    names += [answer.full_name for answer in answers]
    assert len(names) > 20
    assert set(names) & words == set()


def test_no_hidden_image_and_no_hidden_label_is_in_it(contents: dict[str, bytes]) -> None:
    assert "grading" not in " ".join(contents)
    with np.load(GRADING_IMAGES) as hidden, np.load(SUBSET) as shown:
        secret = {image.tobytes() for image in hidden[_key(hidden, "images")]}
        for name in shown.files:
            if name.endswith("images"):
                assert not secret & {image.tobytes() for image in shown[name]}
        labels = hidden[_key(hidden, "labels")].tobytes()
    for name, content in contents.items():
        texts = [content]
        if name.endswith(".npz"):
            with zipfile.ZipFile(io.BytesIO(content)) as arrays:
                texts = [arrays.read(array) for array in arrays.namelist()]
        assert not any(labels[:500] in text for text in texts), name


def _key(arrays: np.lib.npyio.NpzFile, ending: str) -> str:
    return next(name for name in arrays.files if name.endswith(ending))


def test_the_first_cell_installs_the_course_where_it_is_missing(
    wheel: Path, tmp_path: Path
) -> None:
    """A machine as Colab's: Python with the libraries, but without the course."""
    machine = tmp_path / "machine"
    venv.create(machine, with_pip=True, symlinks=True)
    python = machine / "bin" / "python"
    (site,) = machine.glob("lib/python*/site-packages")
    # Files that install a project for development are not read from there, so it is not found.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    work = tmp_path / "content"
    work.mkdir()
    (work / "first_cell.py").write_text(SETUP + "\n")
    use = (
        "exec(open('first_cell.py').read())\n"
        "import course_utils\n"
        "from course_utils.checkpoints import load_checkpoint\n"
        "from course_utils.data import load_images\n"
        "from course_utils.language import use_language\n"
        "from course_utils.progress import rows\n"
        "use_language('zh-TW', 'network_pruning')\n"
        "print(len(load_images('test')[0]), type(load_checkpoint('lenet')).__name__, len(rows()))\n"
        "print(course_utils.__file__)\n"
    )

    def run() -> subprocess.CompletedProcess[str]:
        settings = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        settings["HOME"] = str(tmp_path)
        return subprocess.run(
            [python, "-c", use], cwd=work, capture_output=True, text=True, env=settings, check=False
        )

    without = run()
    assert without.returncode != 0
    assert "Put its file" in without.stderr
    (work / wheel.name).write_bytes(wheel.read_bytes())
    done = run()
    assert done.returncode == 0, done.stderr
    shown, place = done.stdout.strip().splitlines()[-2:]
    assert shown == "2000 LeNet 7"
    assert Path(place).is_relative_to(machine)
    # The second time it is there already.
    assert run().returncode == 0


def test_every_notebook_begins_with_that_cell(contents: dict[str, bytes]) -> None:
    notebooks = [name for name in contents if name.endswith(".ipynb")]
    assert len(notebooks) == 15
    for name in notebooks:
        cells = json.loads(contents[name])["cells"]
        assert "".join(cells[1]["source"]) == SETUP, name


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_empty_machine_by_the_two_commands_of_its_readme(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    project = tmp_path / FOLDER
    text = (project / "README.md").read_text()
    assert text == README
    make, install, start, *_ = COMMAND.findall(text)
    assert "jupyter lab" in start
    home = {**os.environ, "HOME": str(tmp_path)}
    for command in (make.replace("python3", sys.executable), install):
        subprocess.run(command, shell=True, cwd=project, check=True, env=home)
    run = (
        ".venv/bin/python -m jupyter execute notebooks/3_post_training_quantization.ipynb "
        "--allow-errors --output done.ipynb"
    )
    subprocess.run(run, shell=True, cwd=project, check=True, env=home)
    done = json.loads((project / "notebooks" / "done.ipynb").read_text())
    outputs = [output for cell in done["cells"] for output in cell.get("outputs", [])]
    errors = {output["ename"] for output in outputs if output["output_type"] == "error"}
    assert errors <= {"NotImplementedError", "NameError"}
    assert any("image/png" in output.get("data", {}) for output in outputs)
