import base64
from typing import Any

import pytest

from autograder.gradebook.sanitize import (
    CELL_CHARACTERS,
    MOST_OUTPUTS,
    SHOWN_CHARACTERS,
    TEXT_CHARACTERS,
    Shown,
    plain_text,
    safe_markdown,
    safe_outputs,
    without_html,
)

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n a picture").decode()
ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "[x](javascript:alert(1))",
    "[x](java&#115;cript:alert(1))",
    "[x]( JaVaScRiPt:alert(1))",
    "<style>body { display: none }</style>",
    "<form action='http://x.example'><input name='score'></form>",
    "![x](http://x.example/track.png)",
    '<b onclick="alert(1)" style="position: fixed" id="norm-check">x</b>',
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("cleaned_before", [False, True])
def test_markdown_that_attacks(attack: str, cleaned_before: bool) -> None:
    page = safe_markdown(without_html(attack) if cleaned_before else attack)
    for tag in ("script", "svg", "iframe", "style", "form", "input"):
        assert f"<{tag}" not in page
    tags = [part.partition(">")[0] for part in page.split("<")[1:]]
    for forbidden in ("onerror", "onclick", "script:", "data:", "style=", "id=", 'src="http'):
        assert not any(forbidden in tag.lower() for tag in tags)


def test_links_in_formulas() -> None:
    assert "\\href" not in safe_markdown(r"$\href{javascript:alert(1)}{x}$")
    assert "\\href" not in without_html(r"$\href{javascript:alert(1)}{x}$")


def test_ordinary_markdown_stays() -> None:
    page = safe_markdown("# Title\n\n| a | b |\n|---|---|\n| 1 | *2* |\n\n$\\sum_{i<n} w_i$")
    for part in ("<h1", "<table>", "<td><em>2</em></td>", "$\\sum_{i&lt;n} w_i$"):
        assert part in page
    assert "<details>" in safe_markdown("<details><summary>Hint</summary>x</details>")
    assert '<a href="https://x.example">' in safe_markdown("[x](https://x.example)")
    text = "The data: if 1 < 2 then `x < y`."
    assert without_html(text) == text


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ({"output_type": "stream", "text": ["a\n", "b\x1b[31m!\x1b[0m\n"]}, "a\nb!\n"),
        ({"output_type": "execute_result", "data": {"text/plain": "3.0"}}, "3.0\n"),
        ({"output_type": "error", "ename": "KeyError", "evalue": "'x'"}, "KeyError: 'x'\n"),
    ],
)
def test_outputs_as_text(raw: Any, kept: str) -> None:
    (output,) = safe_outputs([raw])
    assert (output.output_type, output.name, output.text) == ("stream", "stdout", kept)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "text",
        [3, None, []],
        [{"output_type": "display_data", "data": {"text/html": "<script></script>"}}],
        [{"output_type": "display_data", "data": {"image/png": '"><script>'}}],
        [{"output_type": "display_data", "data": {"image/png": base64.b64encode(b"GIF").decode()}}],
        [{"output_type": "display_data", "data": 3}],
        [{"output_type": "stream", "text": {"a": 1}}],
    ],
)
def test_outputs_that_are_dropped(raw: Any) -> None:
    assert safe_outputs(raw) == []


def test_images_lose_their_settings() -> None:
    raw = {"output_type": "display_data", "data": {"image/png": [PNG[:10], PNG[10:]]}}
    (output,) = safe_outputs([{**raw, "metadata": {"image/png": {"width": '"><script>'}}}])
    assert output.data == {"image/png": PNG}
    assert output.metadata == {"image/png": {"alt": "picture that the cell drew"}}


def test_floods_are_cut() -> None:
    many = [{"output_type": "stream", "text": "x" * 10**6}] * 1000
    outputs = safe_outputs(many)
    assert len(outputs) == MOST_OUTPUTS
    assert all(len(output.text) < TEXT_CHARACTERS + 20 for output in outputs)
    assert plain_text("a\x00b\x07c\td\n") == "abc\td\n"


def test_links_to_files_that_were_handed_in_are_no_links() -> None:
    page = safe_markdown("[a](evil.html) [b](/x/evil.html) [c](//x/y) [d](https://x.org) [e](#top)")
    assert page.count("href=") == 2
    assert "evil" not in page


def test_what_a_page_shows_has_a_limit() -> None:
    shown = Shown()
    assert shown.cut("x = 1") == "x = 1"
    assert len(shown.cut("a." * 10**6)) < CELL_CHARACTERS + 100
    assert sum(len(Shown.cut(shown, "b" * 15_000)) for _ in range(50)) < SHOWN_CHARACTERS


def test_markdown_that_cannot_be_rendered_is_shown_as_text():
    page = safe_markdown("my *answer* <b>\n\n![x](attachment:x.svg)")
    assert page == "<pre>my *answer* &lt;b&gt;\n\n![x](attachment:x.svg)</pre>"
