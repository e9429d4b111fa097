"""Similar submissions: copies are found through other names and comments; the given code is not."""

from __future__ import annotations

import random
import time

from autograder.authoring.source import load_source
from autograder.classroom.report import report_html
from autograder.classroom.similarity import similar_submissions
from autograder.judge.submission import Submission, reference_submission, untouched_submission
from autograder.judge.verdict import ExerciseVerdict, Verdict

TOPIC = "network_pruning"
SOURCE = load_source(TOPIC)
NAMES = [exercise.name for exercise in SOURCE.exercises][:3]

ORIGINAL = """
def {name}(weights, amount):
    # my own idea
    flat = weights.abs().flatten()
    for index, value in enumerate(flat.sort().values):
        if index > amount * flat.numel() and value > 1e-3:
            return torch.where(weights.abs() < value, torch.zeros_like(weights), weights)
    total = sum(part.numel() for part in weights.unbind(0) if part.norm(2) > total_limit)
    return weights.clone().clamp_min(0).div(total + 1)
"""
RENAMED = (
    ORIGINAL.replace("flat", "numbers")
    .replace("index", "k")
    .replace("value", "smallest")
    .replace("    # my own idea\n", '    """What it does."""\n\n')
    .replace("sum(part", "sum(\n        part")
)
DIFFERENT = """
def {name}(weights, amount):
    count = round(amount * weights.numel())
    if count == 0:
        return weights
    border = torch.kthvalue(weights.abs().view(-1), count)[0]
    keep = weights.abs().gt(border).to(weights.dtype)
    result = weights.mul(keep)
    assert result.shape == weights.shape, "the shape must stay"
    return result if amount < 1 else torch.zeros(weights.shape)
"""


def submission(text: str) -> Submission:
    return Submission(TOPIC, answers={name: text.format(name=name) for name in NAMES})


def test_a_copy_with_other_names_is_found() -> None:
    class_ = {"anna": ORIGINAL, "ben": DIFFERENT, "carl": RENAMED}
    (group,) = similar_submissions(SOURCE, {k: submission(v) for k, v in class_.items()})
    assert group.students == ("anna", "carl")
    assert group.alike > 0.95
    assert group.typed < 0.95
    assert set(group.exercises) == set(NAMES)
    assert "numbers" in group.texts[1]


def test_the_given_code_does_not_count() -> None:
    class_ = {name: untouched_submission(SOURCE) for name in "ab"}
    assert similar_submissions(SOURCE, class_) == []


def test_what_much_of_the_class_has_does_not_count() -> None:
    class_ = {f"s{i}": reference_submission(SOURCE) for i in range(9)}
    assert similar_submissions(SOURCE, class_) == []
    class_ |= {"anna": submission(ORIGINAL), "carl": submission(RENAMED)}
    assert [group.students for group in similar_submissions(SOURCE, class_)] == [("anna", "carl")]


def test_three_that_are_alike_are_one_group() -> None:
    class_ = {"a": ORIGINAL, "b": RENAMED, "c": ORIGINAL.replace("1e-3", "1e-4"), "d": DIFFERENT}
    class_ |= {"e": DIFFERENT.replace("border", "edge"), "f": "def {name}(:", "g": "\x00"}
    groups = similar_submissions(SOURCE, {k: submission(v) for k, v in class_.items()})
    assert [sorted(group.students) for group in groups] == [["a", "b", "c"], ["d", "e"]]


def test_a_large_class_takes_seconds() -> None:
    rng = random.Random(0)
    words = ["weights", "sum", "(", ")", ".", "abs", "+", "x", "y", "mean", "1", "\n    "]
    class_ = {
        f"s{i}": submission("def {name}():\n    " + " ".join(rng.choices(words, k=200)))
        for i in range(100)
    }
    class_["flood"] = submission("x = (" * 10_000 + "\n" + "a + b\n" * 200_000)
    class_["copy"] = class_["s7"]
    started = time.process_time()
    groups = similar_submissions(SOURCE, class_, threshold=0.9)
    assert time.process_time() - started < 20
    assert [group.students for group in groups] == [("copy", "s7")]


def test_texts_in_the_report_are_escaped() -> None:
    attack = "</pre><script>alert(1)</script>"
    class_ = {k: submission(ORIGINAL + f"    # {attack}\n") for k in ("a", "<b>b</b>")}
    groups = similar_submissions(SOURCE, class_)
    exercise = ExerciseVerdict(name=NAMES[0], points=0, max_points=1, checks=[])
    verdicts = [Verdict(topic=TOPIC, student=name, exercises=[exercise]) for name in class_]
    page = report_html(TOPIC, "Pruning", verdicts, groups)
    assert "<script" not in page
    assert "<b>b</b>" not in page
    assert "&lt;script&gt;" in page
    assert "100% alike" in page
