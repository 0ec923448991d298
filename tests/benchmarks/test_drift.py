"""The simulation of lines that change."""

import json

from benchmarks import drift


def test_a_large_change_is_noticed_soon_and_none_hardly_ever(tmp_path):
    options = drift.Options(lines=50, held_out=(50,), before=20, after=60, json=tmp_path / "rows.json")
    rows = {row["change"]: row for row in drift.main(options)}
    assert list(rows) == [change.name for change in drift.CHANGES]
    assert rows["none"]["share"] <= 0.1
    everything = rows["all parts are far above the threshold"]
    assert everything["share"] == 1.0
    assert everything["median"] < 15
    assert everything["by"] == "excess"
    assert (
        rows["scores rise by half a standard deviation"]["share"]
        < rows["scores fall by one standard deviation"]["share"]
    )
    assert json.loads(options.json.read_text()) == list(rows.values())
