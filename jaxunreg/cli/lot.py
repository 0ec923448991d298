"""The lot of `jaxunreg score --lot`: its rows wait until all parts are scored."""

from collections.abc import Mapping
from typing import Any

from jaxunreg.cli.options import CommandError
from jaxunreg.cli.rows import WriteRow
from jaxunreg.errors import argument
from jaxunreg.inspection.lots import benjamini_hochberg, fewest_rejections


class LotRate:
    """A lot. On average, at most a share `rate` of its rejected parts is good.

    Args:
      rate: see `benjamini_hochberg`.

    Raises:
      CommandError: the rate is not in (0, 1).
    """

    def __init__(self, rate: float) -> None:
        if not 0.0 < rate < 1.0:
            raise CommandError(
                argument("lot", rate), "a number between 0 and 1, e.g. 0.1", f"change {argument('lot')}", field="lot"
            )
        self.rejected = 0
        self._rate = rate
        self._rows: list[Mapping[str, Any]] = []
        self._parts = 0

    def keep(self, row: Mapping[str, Any]) -> None:
        """Keep a row."""
        self._rows.append(row)

    def write_all(self, write: WriteRow) -> None:
        """Write all rows, with the decision on each part."""
        p_values = [row["p_value"] for row in self._rows if "p_value" in row]
        self._parts = len(p_values)
        rejects = iter(benjamini_hochberg(p_values, self._rate).tolist() if p_values else [])
        for row in self._rows:
            if "p_value" not in row:
                write(row)
                continue
            is_rejected = next(rejects)
            self.rejected += is_rejected
            write({**row, "lot": "reject" if is_rejected else "pass"})

    def summary(self, held_out_images: int) -> str:
        """Return the decision on the lot, its promise and its limits.

        Args:
          held_out_images: number of held-out images behind the p-values.
        """
        told = (
            f"lot: {self.rejected} of {self._parts} parts are rejected; of the parts that such a rule rejects at most "
            f"{100 * self._rate:.4g} % are good, on average"
        )
        fewest = fewest_rejections(held_out_images, max(1, self._parts), self._rate)
        if fewest == 1:
            return told
        return f"{told}; with {held_out_images} held-out good parts fewer than {fewest} parts are never rejected"
