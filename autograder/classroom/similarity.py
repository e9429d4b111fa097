"""Finds submissions whose answers are alike, the starter code left out.

Answers are reduced to lines of tokens: no comments, no docstrings, no layout, own names all alike.
Lines of the notebook as it was given out do not count, nor do lines that a good part of the class
has: a short exercise has only so many right answers. What is left is compared by RapidFuzz.

A high figure is a reason to look, never a proof. Both texts stand in the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autograder.authoring.source import TopicSource
from autograder.judge.submission import Submission

ALIKE = 0.8
FEWEST_TOKENS = 40
COMMON_PART = 1 / 3
COMMON_STUDENTS = 3
MOST_GROUPS = 20
# A group's members are as alike as its first two, in percent, but for so much.
LOOSENESS = 10.0
EXCERPT_LINES = 60
# More than this is no answer; it must not cost the report its time.
MOST_CHARACTERS = 50_000
MOST_TOKENS = 20_000
ADDED = "own cells"
OPENING, CLOSING = "([{", ")]}"
# One character for each different token; the first ones are left to control characters.
FIRST_CHARACTER = 0x100
SURROGATES = range(0xD800, 0xE000)

Line = tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Submissions that are alike, each with every other one of the group.

    Attributes:
        students: their names; first the two that are most alike.
        alike: how much of what counts is the same in these two, in [0, 1].
        typed: the same of their texts as they were typed, comments and names included.
        tokens: how many tokens were compared, of the shorter one.
        exercises: where the two are alike, the most telling first.
        texts: the answers of these two to the first of these, cut.
    """

    students: tuple[str, ...]
    alike: float
    typed: float
    tokens: int
    exercises: tuple[str, ...]
    texts: tuple[str, str]


def similar_submissions(
    source: TopicSource, submissions: Mapping[str, Submission], threshold: float = ALIKE
) -> list[Group]:
    """Return the groups that are alike, the most alike first; at most `MOST_GROUPS`.

    Args:
        source: the topic's source; it tells what was given out.
        submissions: student -> what was handed in.
        threshold: from how much on two submissions are alike, in [0, 1].
    """
    from rapidfuzz import fuzz, process

    telling = _telling_lines(source, submissions)
    alphabet: dict[str, str] = {}
    whole = {
        student: "".join(_characters(x, alphabet) for x in answers.values())[:MOST_TOKENS]
        for student, answers in telling.items()
    }
    students = sorted(name for name, text in whole.items() if len(text) >= FEWEST_TOKENS)
    texts = [whole[student] for student in students]
    if len(texts) < 2:
        return []
    scores = process.cdist(texts, texts, scorer=fuzz.ratio, score_cutoff=100 * threshold)
    rows, columns = (scores >= 100 * threshold).nonzero()
    pairs = {
        (students[row], students[column]): float(scores[row, column])
        for row, column in zip(rows, columns, strict=True)
        if row < column
    }
    groups = _joined(pairs)[:MOST_GROUPS]
    return [_group(group, source, submissions, telling) for group in groups]


def _telling_lines(
    source: TopicSource, submissions: Mapping[str, Submission]
) -> dict[str, dict[str, list[Line]]]:
    """Return the lines that count: student -> exercise -> lines."""
    given = {line for cell in source.cells if cell.is_code for line in _lines(cell.stub)}
    lines = {
        student: {name: _lines(text) for name, text in _texts(source, submission).items()}
        for student, submission in submissions.items()
    }
    counts: Counter[Line] = Counter()
    for answers in lines.values():
        counts.update({line for found in answers.values() for line in found})
    limit = max(COMMON_STUDENTS, COMMON_PART * len(lines))
    dropped = given | {line for line, count in counts.items() if count > limit}
    return {
        student: {name: [x for x in found if x not in dropped] for name, found in answers.items()}
        for student, answers in lines.items()
    }


def _joined(pairs: Mapping[tuple[str, str], float]) -> list[list[str]]:
    """Return groups of students, each alike with every other of the group, the most alike first.

    Args:
        pairs: two students in order of their names -> how alike they are, in percent.
    """
    groups: list[list[str]] = []
    place: dict[str, list[str]] = {}
    best: dict[int, float] = {}
    for (left, right), score in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        if left in place and right in place:
            continue
        if left not in place and right not in place:
            group = [left, right]
            groups.append(group)
            place |= {left: group, right: group}
            best[id(group)] = score
            continue
        new, group = (right, place[left]) if left in place else (left, place[right])
        # Friends of friends do not make a group, or a whole class would be one.
        least = best[id(group)] - LOOSENESS
        if all(pairs.get((min(new, who), max(new, who)), 0.0) >= least for who in group):
            group.append(new)
            place[new] = group
    return groups


def _group(
    students: Sequence[str],
    source: TopicSource,
    submissions: Mapping[str, Submission],
    telling: Mapping[str, Mapping[str, list[Line]]],
) -> Group:
    from rapidfuzz import fuzz

    left, right = students[:2]
    alphabet: dict[str, str] = {}
    sizes: dict[str, int] = {}
    totals = [0, 0]
    same = 0.0
    for name in dict.fromkeys([*telling[left], *telling[right]]):
        one, other = (_characters(telling[who].get(name, []), alphabet) for who in (left, right))
        totals = [totals[0] + len(one), totals[1] + len(other)]
        ratio = fuzz.ratio(one, other) / 100
        same += ratio * (len(one) + len(other))
        if one and other and ratio >= ALIKE:
            sizes[name] = min(len(one), len(other))
    # The most telling first: much that is the same, not a single line.
    exercises = sorted(sizes, key=lambda name: (-sizes[name], name))
    typed = [_texts(source, submissions[who]) for who in (left, right)]
    first = exercises[0] if exercises else ""
    return Group(
        students=tuple(students),
        alike=same / sum(totals),
        typed=fuzz.ratio(*("\n".join(answers.values()) for answers in typed)) / 100,
        tokens=min(totals),
        exercises=tuple(exercises),
        texts=(_excerpt(typed[0].get(first, "")), _excerpt(typed[1].get(first, ""))),
    )


def _texts(source: TopicSource, submission: Submission) -> dict[str, str]:
    """Return what the student wrote: exercise -> text, and the added cells as one."""
    names = [cell.name for cell in source.of_kind("exercise")]
    texts = {name: submission.answers[name] for name in names if name in submission.answers}
    added = [cell.source for cell in submission.added if cell.kind == "code"]
    return texts | ({ADDED: "\n".join(added)} if added else {})


def _characters(lines: Sequence[Line], alphabet: dict[str, str]) -> str:
    """Return the lines as a text with one character for each token."""
    return "".join(_character(token, alphabet) for line in lines for token in line)


def _character(token: str, alphabet: dict[str, str]) -> str:
    if token not in alphabet:
        number = FIRST_CHARACTER + len(alphabet)
        alphabet[token] = chr(number if number < SURROGATES.start else number + len(SURROGATES))
    return alphabet[token]


def _lines(text: str) -> list[Line]:
    """Return the logical lines of Python, which need not be valid, as tokens."""
    lines: list[Line] = []
    line: list[str] = []
    depth = 0
    for kind, token in _tokens(text[:MOST_CHARACTERS]):
        if kind == "end":
            if line and depth <= 0:
                lines.append(tuple(line))
                line, depth = [], 0
            continue
        depth += (token in OPENING) - (token in CLOSING)
        # Names are all the same: they are what a copy changes first.
        line.append("name" if kind == "name" else token)
    return [*lines, tuple(line)] if line else lines


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, token): "end" at a line's end, "name" for a name that one chooses, "other"."""
    from pygments.lexers.python import PythonLexer
    from pygments.token import Comment, Name, Number, String

    before = ""
    inside_string = False
    for kind, token in PythonLexer(stripnl=False, ensurenl=True).get_tokens(text):
        if kind in String.Doc or kind in Comment:
            continue
        if kind in String:
            # The text of a string is not compared, only that there is one.
            if not inside_string:
                yield "other", "string"
            inside_string, before = True, ""
            continue
        inside_string = False
        if "\n" in token and not token.strip():
            yield "end", ""
        elif stripped := token.strip():
            # What stands after a dot belongs to a library, and is no name of one's own.
            own = kind in Name and kind not in Name.Builtin and before != "."
            yield ("name" if own else "other"), "number" if kind in Number.Float else stripped
            before = stripped


def _excerpt(text: str) -> str:
    lines = text.splitlines()
    cut = [line[:200] for line in lines[:EXCERPT_LINES]]
    return "\n".join(cut if len(lines) <= EXCERPT_LINES else [*cut, "…"])
