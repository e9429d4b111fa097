"""Collecting what learning systems give: everybody in place, nothing lost, nothing let out."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from autograder import settings
from autograder.authoring.build import complete_notebook
from autograder.classroom import archives
from autograder.classroom.roster import Roster, is_student_id, name_keys, read_roster, slug
from autograder.classroom.uploads import sender
from autograder.cli import app
from autograder.gradebook.folders import prepare_submissions

TOPIC = "network_pruning"
NAME = "1_network_pruning.ipynb"
OLD, NEW = (2026, 3, 1, 10, 0, 0), (2026, 3, 2, 10, 0, 0)

Content = str | bytes | tuple[str | bytes, tuple[int, ...]]


@pytest.fixture(scope="module")
def notebook() -> str:
    return nbformat.writes(complete_notebook(TOPIC))


@pytest.fixture(autouse=True)
def course(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(settings, "COURSE", tmp_path / "course")
    return tmp_path / "course"


def zipped(path: Path, members: Mapping[str, Content]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            text, date = content if isinstance(content, tuple) else (content, NEW)
            archive.writestr(zipfile.ZipInfo(name, date), text, zipfile.ZIP_DEFLATED)  # type: ignore[arg-type]
    return path


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["collect", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def line(output: str, word: str) -> str:
    return next(text for text in output.splitlines() if word in text)


def placed(course: Path) -> dict[str, str]:
    files = sorted((course / "submitted").glob(f"*/{TOPIC}/*"))
    assert all(path.is_file() and not path.is_symlink() for path in files)
    return {path.parts[-3]: path.read_text() for path in files if path.name == NAME}


MOODLE = [
    "Anna Müller_101_assignsubmission_file/1_network_pruning.ipynb",
    "Anna Müller_101_assignsubmission_file_/my work/1_network_pruning.ipynb",
    "Anna Müller_101_assignsubmission_file_1_network_pruning.ipynb",
]


@pytest.mark.parametrize("name", MOODLE)
def test_moodle_with_and_without_folders(
    name: str, course: Path, tmp_path: Path, notebook: str
) -> None:
    other = name.replace("Anna Müller_101", "O'Brien Bob_102")
    text = "Anna Müller_101_assignsubmission_onlinetext/onlinetext.html"
    source = zipped(tmp_path / "C-1.zip", {name: notebook, other: "{}", text: "<p>hello"})
    run(source, TOPIC)
    assert placed(course) == {"anna_muller": notebook, "obrien_bob": "{}"}


def test_moodle_with_a_roster(course: Path, tmp_path: Path, notebook: str) -> None:
    roster = tmp_path / "class.csv"
    roster.write_text(
        "\ufeffStudent ID;First name;Last name;Moodle ID\n"
        "s1;Anna;Müller;\ns2;Bob;Lee;Participant 102\ns3;Bob;Lee;103\ns4;Dora;Ek;\n"
    )
    source = zipped(
        tmp_path / "C-1.zip",
        {
            "Müller Anna_101_assignsubmission_file/x.ipynb": notebook,
            "Bob Lee_102_assignsubmission_file/1_network_pruning.ipynb": notebook,
            "Bob Lee_999_assignsubmission_file/1_network_pruning.ipynb": notebook,
            "Eve Who_105_assignsubmission_file/1_network_pruning.ipynb": notebook,
        },
    )
    output = run(source, TOPIC, "--roster", roster, code=1)
    assert set(placed(course)) == {"s1", "s2"}
    assert "it was called x.ipynb" in line(output, "s1 ")
    assert "Bob Lee may be s2, s3" in output
    assert "Eve Who is not in the roster" in output
    assert "Nothing here from 2: s3, s4" in output
    assert "2 placed, 2 NOT PLACED" in output


def test_two_people_of_one_name_need_a_roster(course: Path, tmp_path: Path, notebook: str) -> None:
    names = [f"Bob Lee_{number}_assignsubmission_file/{NAME}" for number in (1, 2)]
    output = run(zipped(tmp_path / "a.zip", dict.fromkeys(names, notebook)), TOPIC, code=1)
    assert "2 senders of this name" in output
    assert placed(course) == {}


def test_canvas_and_its_further_attempts(course: Path, tmp_path: Path, notebook: str) -> None:
    roster = tmp_path / "canvas.csv"
    roster.write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section\n    Points Possible,,,,\n"
        '"Müller, Anna",4711,77,anna,A\n"Lee, Bob",4712,78,bob,A\n'
    )
    source = zipped(
        tmp_path / "submissions.zip",
        {
            "mulleranna_4711_815_1_network_pruning.ipynb": ("{}", OLD),
            "mulleranna_4711_816_1_network_pruning-1.ipynb": (notebook, NEW),
            "leebob_LATE_4712_817_1_network_pruning.ipynb": notebook,
        },
    )
    output = run(source, TOPIC, "--roster", roster)
    assert placed(course) == {"anna": notebook, "bob": notebook}
    assert "the latest of 2: 1_network_pruning-1.ipynb" in output
    assert "came late" in line(output, "bob ")


def test_a_folder_of_everything(course: Path, tmp_path: Path, notebook: str) -> None:
    source = tmp_path / "in"
    zipped(source / "anna.zip", {NAME: notebook, "plot.png": b"x", f"__MACOSX/._{NAME}": b"x"})
    zipped(source / "bob_1_network_pruning (1).zip", {f"compression-course/notebooks/{NAME}": "{}"})
    (source / "1_network_pruning_carl.ipynb").write_text(notebook)
    (source / "s1234567-1_network_pruning.ipynb").write_text(notebook)
    (source / "dora" / TOPIC).mkdir(parents=True)
    (source / "dora" / TOPIC / NAME).write_text(notebook)
    (source / "dora" / TOPIC / "timestamp.txt").write_text("2026-03-01 12:00:00 CET")
    (source / NAME).write_text(notebook)
    (source / "readme.txt").write_text("mine")
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    output = run(source, TOPIC, code=1)
    assert set(placed(course)) == {"anna", "bob", "carl", "dora", "s1234567"}
    assert "there is no student id in its name" in output
    stamp = course / "submitted" / "dora" / TOPIC / "timestamp.txt"
    assert stamp.read_text().endswith(" UTC\n")
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before
    assert not list((course / "collected").glob(".*"))


def test_nobody_hands_in_as_somebody_else(course: Path, tmp_path: Path, notebook: str) -> None:
    flat = "Eve_666_assignsubmission_file_Bob_102_assignsubmission_file_x.ipynb"
    deep = f"Eva_667_assignsubmission_file/Bob_102_assignsubmission_file/{NAME}"
    run(zipped(tmp_path / "a.zip", {flat: notebook, deep: notebook}), TOPIC)
    assert set(placed(course)) == {"eve", "eva"}
    inside = tmp_path / "in" / "ida.zip"
    zipped(inside, {f"Bob_102_assignsubmission_file/{NAME}": "{}", "bob_102_1_x.ipynb": "{}"})
    zipped(tmp_path / "in" / "Uma_668_assignsubmission_file" / "bob.zip", {NAME: notebook})
    run(inside.parent, TOPIC)
    assert set(placed(course)) == {"eve", "eva", "ida", "uma"}


def test_one_students_zip(course: Path, tmp_path: Path, notebook: str) -> None:
    run(zipped(tmp_path / "anna.zip", {NAME: notebook}), TOPIC)
    assert set(placed(course)) == {"anna"}


def test_what_is_newer_stays_and_what_is_older_is_kept(course: Path, tmp_path: Path) -> None:
    def hand_in(text: str, date: tuple[int, ...], *options: str) -> str:
        name = f"Anna_1_assignsubmission_file/{NAME}"
        return run(zipped(tmp_path / "z.zip", {name: (text, date)}), TOPIC, *options)

    assert "placed" in hand_in("first", OLD)
    assert "same as before" in hand_in("first", OLD)
    assert "would" not in hand_in("second", NEW, "--dry-run")
    assert placed(course) == {"anna": "first"}
    assert "gives way" in hand_in("second", NEW)
    output = hand_in("first", OLD)
    assert "kept the newer" in output
    assert "2026-03-02 10:00" in output
    assert placed(course) == {"anna": "second"}
    assert "as you asked" in hand_in("third", OLD, "--replace-newer")
    assert placed(course) == {"anna": "third"}
    kept = (course / "collected" / "earlier" / "anna" / TOPIC).glob("*.ipynb")
    assert sorted(path.read_text() for path in kept) == ["first", "second"]


def test_what_stood_in_for_nothing_gives_way(course: Path, tmp_path: Path, notebook: str) -> None:
    for student in ("anna", "ben"):
        (course / "submitted" / student / TOPIC).mkdir(parents=True)
    said = f"there was no notebook called {NAME}"
    # A second run says it again.
    for _ in range(2):
        assert prepare_submissions(TOPIC) == {"anna": said, "ben": said}
    # It is older than the stand-in, and all there is.
    path = zipped(tmp_path / "z.zip", {f"Anna_1_assignsubmission_file/{NAME}": (notebook, OLD)})
    assert "placed" in run(path, TOPIC)
    (course / "submitted" / "ben" / TOPIC / "mine.ipynb").write_text(notebook)
    assert prepare_submissions(TOPIC) == {"ben": "the notebook was called mine.ipynb"}
    assert placed(course) == {"anna": notebook, "ben": notebook}


def test_dates_of_files_as_times_of_submission(course: Path, tmp_path: Path) -> None:
    run(zipped(tmp_path / "anna.zip", {NAME: ("{}", OLD)}), TOPIC, "--file-times")
    assert (course / "submitted" / "anna" / TOPIC / "timestamp.txt").is_file()


def encrypted(path: Path, text: str) -> None:
    """Set the flag of encryption, as a zip with a password has it."""
    content = zipped(path, {NAME: text}).read_bytes()
    for header in (b"PK\x03\x04\x14\x00", b"PK\x01\x02\x14\x03\x14\x00"):
        content = content.replace(header + b"\x00", header + b"\x01")
    path.write_bytes(content)


def with_mode(path: Path, mode: int) -> None:
    entry = zipfile.ZipInfo(NAME, NEW)
    entry.create_system, entry.external_attr = 3, mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "/etc/passwd")


def lying(path: Path) -> None:
    """A member that says it is small, and is not."""
    content = zipped(path, {NAME: b"0" * (40 * 2**20)}).read_bytes()
    path.write_bytes(content.replace(struct.pack("<L", 40 * 2**20), struct.pack("<L", 100_000)))


def nested(path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr(NAME, "{}")
    zipped(path, {"homework.zip": inner.getvalue()})


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "bomb": (lambda p: zipped(p, {NAME: b"0" * (25 * 2**20)}), "as a zip bomb does"),
    "large": (lambda p: zipped(p, {NAME: b"0" * (31 * 2**20)}), "more than 30 MiB"),
    "lying": (lying, "cannot be unpacked"),
    "parent": (lambda p: zipped(p, {f"../../{NAME}": "{}"}), "leads out of the zip"),
    "absolute": (lambda p: zipped(p, {f"/etc/{NAME}": "{}"}), "leads out of the zip"),
    "drive": (lambda p: zipped(p, {f"C:\\x\\{NAME}": "{}"}), "leads out of the zip"),
    "backslash": (lambda p: zipped(p, {f"..\\{NAME}": "{}"}), "leads out of the zip"),
    "unseen": (lambda p: zipped(p, {f"a\u202egpj.{NAME}": "{}"}), "cannot be seen"),
    "long": (lambda p: zipped(p, {f"{'x' * 400}{NAME}": "{}"}), "more than 300 characters"),
    "link": (lambda p: with_mode(p, 0o120777), "a link or a device"),
    "device": (lambda p: with_mode(p, 0o060777), "a link or a device"),
    "pipe": (lambda p: with_mode(p, 0o010777), "a link or a device"),
    "encrypted": (lambda p: encrypted(p, "{}"), "encrypted"),
    "broken": (lambda p: p.write_bytes(b"PK\x03\x04 and no more"), "broken"),
    "empty": (lambda p: p.write_bytes(b""), "broken"),
    "nested": (nested, "an archive inside the zip"),
    "no_notebook": (lambda p: zipped(p, {"report.pdf": "x"}), "no notebook in it, only report.pdf"),
    "other_topic": (
        lambda p: zipped(p, {"4_knowledge_distillation.ipynb": "{}"}),
        "the notebook of another topic",
    ),
    "two": (lambda p: zipped(p, {"a.ipynb": "{}", "b.ipynb": "{}"}), "cannot tell which"),
}


def test_hostile_zips_cost_nobody_else_anything(
    course: Path, tmp_path: Path, notebook: str
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name, (make, _) in HOSTILE.items():
        make(source / f"{name}.zip")
    zipped(source / "zoe.zip", {NAME: notebook})
    (source / f"linked_{NAME}").symlink_to("/etc/passwd")
    os.mkfifo(source / f"fifo_{NAME}")
    (source / "late.rar").write_bytes(b"Rar!")
    output = run(source, TOPIC, code=1)
    for name, (_, reason) in HOSTILE.items():
        assert reason in line(output, f"{name} "), name
    assert "symbolic link" in line(output, "linked ")
    assert "no ordinary file" in line(output, "fifo ")
    assert "only zip archives" in output
    assert placed(course) == {"zoe": notebook}
    assert {path.name for path in tmp_path.iterdir()} == {"course", "in"}
    assert "\u202e" not in output


def test_a_zip_that_is_all_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = zipped(tmp_path / "many.zip", {f"{i}/{NAME}": "{}" for i in range(300)})
    monkeypatch.setattr(archives, "MOST_MEMBERS", 100)
    assert "lists more than 100 files" in run(source, TOPIC, code=2)
    monkeypatch.setattr(archives, "DIRECTORY_BYTES", 1000)
    monkeypatch.setattr(archives.zipfile, "ZipFile", None)
    assert "lists more than 100 files" in run(source, TOPIC, code=2)


def test_all_files_together_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = zipped(tmp_path / "many.zip", {f"s{i}/{NAME}": "x" * 400 for i in range(5)})
    monkeypatch.setattr(archives.Budget.__init__, "__defaults__", (1000,))
    assert "2 placed, 3 NOT PLACED" in run(source, TOPIC, code=1)


def test_a_folder_that_is_a_link_is_not_written_through(course: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (course / "submitted").mkdir(parents=True)
    (course / "submitted" / "anna").symlink_to(tmp_path / "elsewhere")
    output = run(zipped(tmp_path / "anna.zip", {NAME: "{}"}), TOPIC, code=1)
    assert "is a symbolic link" in output
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_that_is_no_notebook_is_placed_and_said(course: Path, tmp_path: Path) -> None:
    output = run(zipped(tmp_path / "anna.zip", {NAME: "not json"}), TOPIC)
    assert "not valid JSON" in output
    assert placed(course) == {"anna": "not json"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name\nAnna\n", "no column for the student id"),
        ("student id\nanna\nanna\n", "line 3: anna is there twice"),
        ("student id\n../x\n", "line 2: '../x' is no student id"),
        ("student id\n", "no column"),
        (b"student id\n\xff\xfe\n", "not in UTF-8"),
    ],
)
def test_a_roster_that_is_wrong(tmp_path: Path, text: str | bytes, problem: str) -> None:
    path = tmp_path / "class.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=problem.replace("..", r"\.\.")):
        read_roster(path)


def test_names() -> None:
    assert slug("Anna-Lena  Müller") == "anna_lena_muller"
    assert slug("Łukasz Straße") == "łukasz_strasse"
    assert slug("李 明") == "李_明"
    assert "mulleranna" in name_keys("Anna Müller")


@pytest.mark.parametrize("source", ["nothing.zip", "file.txt"])
def test_a_source_that_is_none(tmp_path: Path, source: str) -> None:
    (tmp_path / "file.txt").write_text("x")
    run(tmp_path / source, TOPIC, code=2)


NAMES = st.text("aB1ü李 _-.()'/\\\u202e\x00", max_size=30)


@given(name=NAMES, number=st.integers(0, 999), form=st.integers(0, 3))
def test_whatever_the_name_the_id_is_one_folder(name: str, number: int, form: int) -> None:
    forms = [
        f"{name}_{number}_assignsubmission_file/{NAME}",
        f"{name}_{number}_5_{NAME}",
        f"{name}/{NAME}",
        f"{name}{NAME}",
    ]
    entry = archives.Entry(forms[form], forms[form], None, bytes)
    found = sender(entry, TOPIC, Roster())
    assert found.student == "" or is_student_id(found.student)
    assert bool(found.student) != bool(found.problem)
