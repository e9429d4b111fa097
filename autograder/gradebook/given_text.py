"""The course's own texts on a page.

Their formulas are MathML, which a browser typesets without a script and without a network. What
students and TAs write goes through `sanitize.safe_markdown` instead.
"""

from __future__ import annotations

from functools import lru_cache

from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

GIVEN_KEY = "autograder_given"
KEPT_TEXTS = 1000


class _Renderer(IPythonRenderer):
    def block_math(self, body: str) -> str:
        return convert(body, display="block")

    def inline_math(self, body: str) -> str:
        return convert(body)


# The same on everybody's page.
@lru_cache(KEPT_TEXTS)
def given_markdown(source: str) -> str:
    """Render markdown that the course wrote to HTML. It is not cleaned: never for other texts."""
    return MarkdownWithMath(renderer=_Renderer(escape=False)).render(source)
