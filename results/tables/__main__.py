"""Write the tables into the pages, or say which of them are stale.

    python -m results.tables            # write them
    python -m results.tables --check    # list the stale ones, and end with 1 if there are any

A page has `<!-- table: NAME -->` before a table and `<!-- end -->` after it. The text between them is replaced.
"""

import sys

import tyro

from results.tables.pages import PAGES, filled
from results.tables.quoted import QUOTED


def main(check: bool = False) -> int:
    """Write the tables into the pages.

    Args:
      check: write nothing, and say which pages are stale.
    """
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = filled(text, QUOTED)
        if new != text:
            stale.append(page.name)
            if not check:
                page.write_text(new, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'is stale; run: python -m results.tables' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
