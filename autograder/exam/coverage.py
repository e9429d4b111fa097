"""Counts: which slide has which questions, and how many there are of each sort."""

from __future__ import annotations

from collections import Counter

from autograder.exam.bank import load_lecture, load_questions
from autograder.exam.schema import KINDS


def questions_by_slide() -> dict[str, list[str]]:
    """Return the names of the questions of each slide that has questions, in order."""
    found: dict[str, list[str]] = {slide: [] for slide in load_lecture().slides}
    for questions in load_questions().values():
        for question in questions:
            found[question.slide].append(question.id)
    return found


def coverage_text() -> str:
    """Return the tables in Markdown."""
    lecture = load_lecture()
    lines = ["| slide | questions | names |", "|---|---|---|"]
    for slide, names in questions_by_slide().items():
        lines.append(f"| {slide} | {len(names)} | {', '.join(names)} |")
    lines += [f"| {one.slide} | 0 | {one.why} |" for one in lecture.without_questions]
    loaded = load_questions()
    everything = [question for found in loaded.values() for question in found]
    generated = [question for question in everything if question.generator]
    numbers = [question for question in generated if question.is_number]
    lines += [
        "",
        f"{len(everything)} questions in English and Chinese; {len(generated)} with fresh numbers, "
        f"of which {len(numbers)} ask for a number.",
        "",
        "| topic | " + " | ".join(KINDS) + " | difficulty 1, 2, 3 | all |",
        "|---" * (len(KINDS) + 3) + "|",
    ]
    for topic, found in [*loaded.items(), ("all", everything)]:
        kinds = Counter(question.kind for question in found)
        hard = Counter(question.difficulty for question in found)
        cells = [*(str(kinds[kind]) for kind in KINDS), f"{hard[1]}, {hard[2]}, {hard[3]}"]
        lines.append(f"| {topic} | " + " | ".join(cells) + f" | {len(found)} |")
    return "\n".join(lines)
