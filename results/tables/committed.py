"""The committed JSON files."""

import functools
import json
from typing import Any

from results.tables.pages import ROOT


@functools.cache
def committed(pattern: str) -> list[Any]:
    """Return the contents of the files in `results/` whose name fits, sorted by name.

    Raises:
      FileNotFoundError: there is none.
    """
    paths = sorted((ROOT / "results").glob(pattern))
    if not paths:
        raise FileNotFoundError(f"results/{pattern}")
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]
