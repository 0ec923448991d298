"""The pages that quote results, and the markers in them."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = (ROOT / "README.md", ROOT / "results" / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
"""All pages that may quote."""

_MARKED = re.compile(r"<!-- table: (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def filled(text: str, quoted: Mapping[str, Callable[[], str]]) -> str:
    r"""Return a page with each marked place replaced by its quoted text.

    Args:
      text: the page.
      quoted: the text of each name.

    Raises:
      KeyError: a name is unknown.

    >>> filled("<!-- table: one -->\nold\n<!-- end -->", {"one": lambda: "| 1 |\n"})
    '<!-- table: one -->\n| 1 |\n<!-- end -->'
    """
    return _MARKED.sub(lambda match: f"<!-- table: {match[1]} -->\n{quoted[match[1]]().strip()}\n<!-- end -->", text)
