"""The command line: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autograder import doctor
from autograder.cli import app
from autograder.doctor import Finding
from autograder.judge import judge as judging
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict, Verdict
from autograder.sandbox.bubblewrap import SandboxUnavailable

COMMANDS = [
    "build",
    "doctor",
    "judge",
    "grade",
    "report",
    "demo",
    "calibrate",
    "checkpoints",
    "data",
    "release",
    "bench",
    "steady",
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def verdict() -> Verdict:
    check = CheckVerdict(name="test_x", passed=False, weight=1, message="[red]got 3[/red]")
    exercise = ExerciseVerdict.from_checks("apoz", 4, [check])
    return Verdict(topic="network_pruning", exercises=[exercise], problems=["a note"])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run: CliRunner, command: str) -> None:
    result = run.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_judge_prints_a_table_with_the_message_as_it_is(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "judge_submission", lambda *_, **__: verdict())
    result = run.invoke(app, ["judge", "1_network_pruning.ipynb"])
    assert result.exit_code == 0
    assert "0 of 4 points" in result.output
    # Text of a student is never taken for markup.
    assert "[red]got 3[/red]" in result.output
    assert "a note" in result.output


def test_judge_reads_the_topic_from_the_file_name(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Path, str]] = []

    def record(path: Path, topic: str, **_: object) -> Verdict:
        seen.append((path, topic))
        return verdict()

    monkeypatch.setattr(judging, "judge_submission", record)
    result = run.invoke(app, ["judge", "some/1_network_pruning.ipynb", "--json"])
    assert seen == [(Path("some/1_network_pruning.ipynb"), "network_pruning")]
    assert Verdict.model_validate(json.loads(result.stdout)) == verdict()


def test_without_a_sandbox_judge_says_so_in_one_line(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Verdict:
        raise SandboxUnavailable("no sandbox: bubblewrap is not installed")

    monkeypatch.setattr(judging, "judge_submission", refuse)
    result = run.invoke(app, ["judge", "1_network_pruning.ipynb"])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "bubblewrap is not installed" in result.output


def test_doctor_shows_how_to_mend_and_fails(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [Finding("Python", True, "3.12"), Finding("sandbox", False, "no bwrap", "get it")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    result = run.invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "→ get it" in result.output
    assert json.loads(run.invoke(app, ["doctor", "--json"]).stdout)[1]["mend"] == "get it"


def test_doctor_is_content_when_all_works(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("Python", True, "3.12")])
    assert run.invoke(app, ["doctor"]).exit_code == 0


def test_grade_of_an_unknown_topic_names_the_topics(run: CliRunner) -> None:
    result = run.invoke(app, ["grade", "no_such_topic"])
    assert result.exit_code == 2
    assert "network_pruning" in result.output
