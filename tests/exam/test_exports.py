"""Moodle XML, GIFT, paper and class marks: all are read back and compared with the items."""

from __future__ import annotations

import base64
import csv
import html
import io
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as Tree

import pytest
from typer.testing import CliRunner

from autograder.cli import app
from autograder.exam.class_marks import mark_class, marks_csv
from autograder.exam.export_gift import gift_text
from autograder.exam.export_html import BROWSERS, NoBrowser, paper_html, with_mathml, write_pdf
from autograder.exam.export_moodle import moodle_type, moodle_xml
from autograder.exam.paper import Paper, make_paper, read_answer, write_answer
from course_utils.exam.items import LANGUAGES, Bank, Item
from course_utils.exam.marking import mark
from course_utils.exam.render import to_html

WHOLE_BANK = 0
PNG = b"\x89PNG"


@pytest.fixture(scope="module", params=LANGUAGES)
def whole(request: pytest.FixtureRequest, bank: Bank) -> Paper:
    return make_paper("9", request.param, WHOLE_BANK, bank)


def test_moodle_xml_reads_back(whole: Paper) -> None:
    quiz = Tree.fromstring(moodle_xml(whole).encode())
    assert quiz.tag == "quiz"
    questions = [q for q in quiz if q.get("type") != "category"]
    assert len(quiz) - len(questions) == 8
    for item, question in zip(whole.items, questions, strict=True):
        assert question.get("type") == moodle_type(item)
        assert question.findtext("name/text") == item.question.id
        body = question.findtext("questiontext/text") or ""
        assert to_html(item.prompt(whole.language)) in body
        assert question.find("questiontext").get("format") == "html"
        file = question.find("questiontext/file")
        assert (file is not None) == (item.plot is not None)
        if file is not None:
            assert f"@@PLUGINFILE@@/{file.get('name')}" in body
            assert base64.b64decode(file.text or "").startswith(PNG)
        READ_BACK[question.get("type", "")](question, item, whole.language)


def read_numerical(question: Tree.Element, item: Item, _: str) -> None:
    first, *others = question.findall("answer")
    assert first.get("fraction") == "100"
    number, slack = float(first.findtext("text") or ""), float(first.findtext("tolerance") or "")
    assert number == pytest.approx(item.key)
    assert slack == pytest.approx(item.tolerance)
    assert mark(item, first.findtext("text")).right
    assert all(other.get("fraction") == "0" for other in others)
    assert not any(mark(item, other.findtext("text")).right for other in others)


def read_cloze(question: Tree.Element, item: Item, _: str) -> None:
    body = question.findtext("questiontext/text") or ""
    gaps = re.findall(r"\{\d+:NUMERICAL:=([-\d.]+):([\d.]+)\}", body)
    assert [float(number) for number, _ in gaps] == item.key


def read_multichoice(question: Tree.Element, item: Item, language: str) -> None:
    several = item.question.kind == "several"
    assert question.findtext("single") == ("false" if several else "true")
    answers = question.findall("answer")
    shares = [float(answer.get("fraction", "")) for answer in answers]
    right = [number for number, share in enumerate(shares) if share > 0]
    assert mark(item, right if several else right[0]).right
    assert sum(share for share in shares if share > 0) == pytest.approx(100, abs=1e-3)
    texts = [answer.findtext("text") for answer in answers]
    assert texts == [to_html(option) for option in item.options(language)]
    # Moodle knows a fixed list of shares only.
    known = {0, 100, 50, 33.33333, 25, 20, 16.66667}
    assert {abs(share) for share in shares} <= known


def read_ordering(question: Tree.Element, item: Item, language: str) -> None:
    answers = question.findall("answer")
    places = [float(answer.get("fraction", "")) for answer in answers]
    assert places == list(range(1, len(places) + 1))
    steps = [to_html(step) for step in item.items(language)]
    assert [answer.findtext("text") for answer in answers] == steps
    assert question.findtext("gradingtype") == "RELATIVE_NEXT_EXCLUDE_LAST"


def read_matching(question: Tree.Element, item: Item, language: str) -> None:
    pairs = question.findall("subquestion")
    rights = [pair.findtext("answer/text") for pair in pairs]
    assert rights == item.rights(language)
    lefts = [pair.findtext("text") or "" for pair in pairs]
    shown = [to_html(text) for text in item.lefts(language)]
    assert lefts == shown + [""] * (len(rights) - len(shown))


READ_BACK = {
    "numerical": read_numerical,
    "cloze": read_cloze,
    "multichoice": read_multichoice,
    "ordering": read_ordering,
    "matching": read_matching,
}

ESCAPED = {":": 1, "#": 2, "=": 3, "{": 4, "}": 5, "~": 6, "n": 7}
PLAIN = {chr(0xE000 + n): "\n" if c == "n" else c for c, n in ESCAPED.items()}


def hide_escapes(text: str) -> str:
    """Replace what is escaped by placeholders, as Moodle's importer does before it parses."""
    text = text.replace("\\\\", "\ue100")
    for letter, number in ESCAPED.items():
        text = text.replace("\\" + letter, chr(0xE000 + number))
    return text.replace("\ue100", "\\")


def show_escapes(text: str) -> str:
    for placeholder, letter in PLAIN.items():
        text = text.replace(placeholder, letter)
    return text.strip()


def test_gift_reads_back(whole: Paper) -> None:
    blocks = [block for block in gift_text(whole).split("\n\n") if block.startswith("::")]
    for item, block in zip(whole.items, blocks, strict=True):
        text = hide_escapes(block)
        assert text.count("{") == text.count("}") == 1, item.question.id
        head, _, rest = text.partition("{")
        _, name, prompt = head.split("::")
        body = rest.strip().removesuffix("}").strip()
        answers, _, feedback = body.rpartition("####")
        assert show_escapes(name) == item.question.id
        assert prompt.startswith("[html]")
        assert to_html(item.prompt(whole.language)) in show_escapes(prompt)
        assert show_escapes(feedback) == to_html(item.solution(whole.language))
        check_gift_answers(item, answers.strip(), whole.language)


def check_gift_answers(item: Item, answers: str, language: str) -> None:
    if item.question.is_number and not isinstance(item.key, list):
        assert answers.startswith("#")
        first = answers[1:].strip().lstrip("=").split("=")[0]
        number, slack = re.fullmatch(r"%100%([-\d.e]+):([\d.e-]+)", first.strip()).groups()
        assert float(number) == pytest.approx(item.key)
        assert float(slack) == pytest.approx(item.tolerance)
    elif item.question.is_number:
        spellings = [part.strip().removeprefix("%100%") for part in answers.split("=")[1:]]
        assert all(mark(item, spelling).right for spelling in spellings)
        assert len(spellings) == 3
    elif item.question.kind in ("ordering", "matching"):
        pairs = [tuple(map(show_escapes, part.split(" -> "))) for part in answers.split("=")[1:]]
        steps = item.items(language)
        if steps:
            assert pairs == [(str(n), step) for n, step in enumerate(steps, 1)]
        else:
            assert [right for _, right in pairs] == item.rights(language)
    else:
        options = re.findall(r"^\s*([=~])(?:%(-?[\d.]+)%)?(.*)$", answers, re.MULTILINE)
        texts = [show_escapes(text.split("#")[0]) for _, _, text in options]
        assert texts == [to_html(option) for option in item.options(language)]
        assert not any(text.startswith(("[", "%")) for text in texts)
        right = [n for n, (sign, share, _) in enumerate(options) if sign == "=" or share[:1] > "-"]
        assert mark(item, right if item.question.kind == "several" else right[0]).right


def test_paper_and_key_need_no_network_and_every_formula_is_typeset(whole: Paper) -> None:
    for key in (False, True):
        page = paper_html(whole, key)
        assert "\\(" not in page
        assert "\\[" not in page
        assert "<math" in page
        assert not re.search(r'(?:src|href)="(?!data:)', page)
        assert page.count("<section>") == len(whole.items)
    assert not re.search(r"\\[a-z]{2,}", re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL))


def test_the_paper_does_not_hold_the_key(whole: Paper) -> None:
    page = html.unescape(paper_html(whole))
    for item in whole.items:
        solution = with_mathml(to_html(item.solution(whole.language)))
        assert html.unescape(solution) not in page


def test_parallel_papers_differ_and_both_languages_hold_the_same(bank: Bank) -> None:
    one, two = make_paper("1", "en", 60, bank), make_paper("2", "en", 60, bank)
    assert one.items != two.items
    chinese = make_paper("1", "zh", 60, bank)
    assert chinese.items == one.items
    assert [chinese.order(item) for item in chinese.items] == [one.order(i) for i in one.items]
    with pytest.raises(ValueError, match="language"):
        make_paper("1", "de", 60, bank)


def test_answers_as_written_on_paper_read_back(whole: Paper) -> None:
    for item in whole.items:
        order = whole.order(item)
        assert mark(item, read_answer(item, write_answer(item, order), order)).right
        assert read_answer(item, " ", order) is None
        assert not mark(item, read_answer(item, "?", order)).right


def test_a_class_is_marked_from_a_table(bank: Bank, tmp_path: Path) -> None:
    paper = make_paper("5", "en", 60, bank)
    keys = [write_answer(item, paper.order(item)) for item in paper.items]
    table = tmp_path / "answers.csv"
    with table.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["student", *range(1, len(keys) + 1)])
        writer.writerow(["anna", *keys])
        writer.writerow(["王小明", *[""] * len(keys)])
        writer.writerow(["=cmd()", keys[0], *["?"] * (len(keys) - 1)])
    anna, wang, third = mark_class(paper, table)
    assert anna.total == paper.points
    assert (wang.student, wang.total) == ("王小明", 0)
    assert third.total == paper.items[0].question.minutes
    rows = list(csv.reader(io.StringIO(marks_csv([anna, wang, third]))))
    assert rows[1][:4] == ["anna", f"{paper.points:.2f}", str(paper.points), "100.0"]
    assert rows[3][0] == "'=cmd()"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,1\na,B\n", "needs a column"),
        ("student,1,999\na,B,C\n", "999"),
        ("student,1\na,B\na,C\n", "one row"),
        ("student,1\n,B\n", "needs a student"),
    ],
)
def test_a_table_of_another_form_is_refused(
    bank: Bank, tmp_path: Path, text: str, message: str
) -> None:
    table = tmp_path / "answers.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        mark_class(make_paper("5", "en", 30, bank), table)


def test_pdf_without_a_browser_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NoBrowser, match="--format html"):
        write_pdf("<p>", tmp_path / "x.pdf")


@pytest.mark.browser
@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no browser")
def test_pdf(bank: Bank, tmp_path: Path) -> None:
    path = tmp_path / "paper.pdf"
    write_pdf(paper_html(make_paper("1", "zh", 15, bank)), path)
    assert path.read_bytes().startswith(b"%PDF")


def test_commands(tmp_path: Path) -> None:
    run = CliRunner()
    for form, ending in (("moodle", ".xml"), ("gift", ".gift.txt"), ("html", "_key.html")):
        result = run.invoke(
            app,
            ["exam", "export", "--format", form, "--seed", "a/b", "--minutes", "15",
             "--language", "zh", "--folder", str(tmp_path)],
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert (tmp_path / f"exam_a_b_15_zh{ending}").exists()
    table = tmp_path / "class.csv"
    table.write_text("student,1\nanna,A\n", encoding="utf-8")
    result = run.invoke(app, ["exam", "mark", str(table), "--seed", "a/b", "--minutes", "15"])
    assert result.exit_code == 0
    assert result.output.startswith("student,points,of,percent,1,2")
    assert run.invoke(app, ["exam", "export", "--minutes", "2"]).exit_code == 2
    result = run.invoke(app, ["exam", "coverage"])
    assert "APoZ" in result.output
    assert result.exit_code == 0
