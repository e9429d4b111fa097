"""Makes what students wrote safe to show to a person in a browser.

Two layers: the rebuilt notebook holds no raw HTML of a student, and the pages of formgrader and
feedback pass all rendered markdown through an allow-list.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from html import escape
from typing import Any

import bleach
from nbconvert.filters import markdown2html
from nbformat import NotebookNode
from nbformat.v4 import new_output

from autograder.settings import MEBIBYTE

TEXT_CHARACTERS = 10_000
IMAGE_BYTES = 2 * MEBIBYTE
CELL_CHARACTERS = 20_000
SHOWN_CHARACTERS = 200_000
CUT = "… (cut off)"
MOST_OUTPUTS = 20
IMAGE_DESCRIPTION = "picture that the cell drew"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

TEXT_TAGS = {"a", "b", "br", "code", "del", "em", "i", "img", "kbd", "s", "span", "strong", "u"}
BLOCK_TAGS = {"blockquote", "details", "div", "hr", "p", "pre", "sub", "summary", "sup"}
LIST_TAGS = {"dd", "dl", "dt", "li", "ol", "ul", "table", "tbody", "td", "th", "thead", "tr"}
TAGS = frozenset(TEXT_TAGS | BLOCK_TAGS | LIST_TAGS | {f"h{level}" for level in range(1, 7)})
ATTRIBUTES = {"*": ["class", "title"], "td": ["align"], "th": ["align"]}
PROTOCOLS = frozenset({"http", "https", "mailto"})
TAG_OPENING = re.compile(r"<(?=[A-Za-z/!?])")
SCRIPT_SCHEME = re.compile(r"(javascript|vbscript|data):(?=\S)", re.IGNORECASE)
# MathJax makes links, styles and attributes from these.
MATH_COMMANDS = re.compile(
    r"\\(?=(?:href|url|class|cssId|style|require|html\w*|Class|data|mmlToken)\b)"
)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def safe_markdown(source: str) -> str:
    """Render markdown to HTML without anything that could run; for nbconvert's templates."""
    try:
        html = markdown2html(MATH_COMMANDS.sub("", source))
    except Exception:  # such as a picture that is attached nowhere: one text must not stop a page
        html = f"<pre>{escape(source)}</pre>"
    special = {"img": _image_attribute, "a": _link_attribute}
    return bleach.clean(html, TAGS, {**ATTRIBUTES, **special}, PROTOCOLS)


def _link_attribute(_tag: str, name: str, value: str) -> bool:
    # A file that was handed in too would open as a page of formgrader, with the teacher's rights.
    if name == "href":
        return value.startswith(("https://", "http://", "mailto:", "#"))
    return name in ("class", "title")


def _image_attribute(_tag: str, name: str, value: str) -> bool:
    # An image from elsewhere would tell its server who reads the page, and when.
    if name == "src":
        return ":" not in value and not value.lstrip().startswith(("//", "\\"))
    return name == "alt"


class Shown:
    """How much of a student's text a page shows. Colouring and rendering take time by its square.

    Only pages are cut: what is judged is the file itself.
    """

    def __init__(self) -> None:
        self._left = SHOWN_CHARACTERS

    def cut(self, text: str) -> str:
        """Return as much of one cell's text as may be shown."""
        most = min(self._left, CELL_CHARACTERS)
        shown = text if len(text) <= most else f"{text[:most]}\n# {CUT}"
        self._left = max(0, self._left - len(text))
        return shown


def without_html(markdown: str) -> str:
    """Return a student's markdown with its HTML tags and script links made harmless.

    A space after `<` is enough for a browser to see text; `a<b` in a formula stays readable.
    """
    text = MATH_COMMANDS.sub("", TAG_OPENING.sub("< ", markdown))
    return SCRIPT_SCHEME.sub(r"\1 :", text)


def plain_text(text: object, limit: int = TEXT_CHARACTERS) -> str:
    """Return text without control characters and colour codes, at most `limit` characters."""
    clean = CONTROL.sub("", ANSI.sub("", text if isinstance(text, str) else ""))
    return clean if len(clean) <= limit else f"{clean[:limit]}\n{CUT}"


def safe_outputs(raw: object) -> list[NotebookNode]:
    """Return a student's saved outputs as plain text and PNG images; the rest is dropped.

    Args:
        raw: the value of "outputs" in a submitted notebook's cell; it may be anything.
    """
    outputs: list[NotebookNode] = []
    for item in raw[:MOST_OUTPUTS] if isinstance(raw, list) else []:
        if isinstance(item, dict):
            outputs += _safe_output(item)
    return outputs


def _safe_output(raw: dict[str, Any]) -> Iterable[NotebookNode]:
    data = raw.get("data") if isinstance(raw.get("data"), dict) else {}
    text = raw.get("text", data.get("text/plain"))
    if raw.get("output_type") == "error":
        text = f"{raw.get('ename')}: {raw.get('evalue')}"
    image = _png(data.get("image/png"))
    if image:
        described = {"image/png": {"alt": IMAGE_DESCRIPTION}}
        yield new_output("display_data", data={"image/png": image}, metadata=described)
    elif clean := plain_text(_joined(text)).strip("\n"):
        yield new_output("stream", name="stdout", text=f"{clean}\n")


def _png(value: object) -> str:
    """Return base64 text that is a PNG image of bearable size; empty when it is not."""
    text = re.sub(r"\s", "", _joined(value))
    if not text or len(text) > IMAGE_BYTES * 4 / 3:
        return ""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return text if content.startswith(PNG_SIGNATURE) else ""


def _joined(value: object) -> str:
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "replace").decode("utf-8")
