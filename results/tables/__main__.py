"""Write the tables into the pages, or say which of them are stale.

    python -m results.tables            # write them
    python -m results.tables --check    # list the stale ones, and end with 1 if there are any
    python -m results.tables --figures  # draw the figure that needs several results, too

A page has `<!-- table: NAME -->` before a table and `<!-- end -->` after it. The text between them is replaced.
"""

import sys

import tyro

from results.tables.digits import svhn_l_beside_m
from results.tables.pages import PAGES, ROOT, filled
from results.tables.quoted import QUOTED


def main(check: bool = False, figures: bool = False) -> int:
    """Write the tables into the pages.

    Args:
      check: write nothing, and say which pages are stale.
      figures: draw the figure that needs several results, too.
    """
    if figures:
        svhn_l_beside_m().savefig(ROOT / "results" / "svhn_toy-paper-l_beside_m.png")
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
