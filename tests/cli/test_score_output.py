"""What `jaxunreg score` may write over, and which rows are there after something went wrong."""

import io
import json
import os
import shutil
from pathlib import Path

import pytest

from jaxunreg.cli.main import main
from jaxunreg.datasets.folders import load_files, room
from jaxunreg.files import growing
from tests.cli.drawn_files import good, rows, write


@pytest.fixture
def images(tmp_path) -> list[Path]:
    return [write(tmp_path / "new" / f"{k}.png", good(k)) for k in range(5)]


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OTHER = {
    "the first of *.png": lambda folder, images: images[0],
    "an image of another folder": lambda folder, images: write(folder / "other.png", good(9)),
    "an image under another name": lambda folder, images: shutil.copy(images[0], folder / "scores.csv"),
    "a link to an image": lambda folder, images: linked(folder / "scores.csv", images[0]),
    "a new name of an image": lambda folder, images: folder / "new.TIF",
    "the model": lambda folder, images: folder / "model" / "detector.json",
    "a text": lambda folder, images: folder / "notes.txt",
    "where rows are until all are there": lambda folder, images: folder / "report",
}


def linked(link: Path, target: Path) -> Path:
    link.symlink_to(target)
    return link


@pytest.mark.parametrize("kind", OTHER)
def test_what_is_no_table_of_rows_is_not_replaced(kind, model, images, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "notes.txt").write_text("taken on Monday")
    (tmp_path / "report.part").write_text("half of a report")
    output = OTHER[kind](tmp_path, images)
    before = bytes_below(tmp_path)
    words = ["--output", str(output), *map(str, images[1:])]
    assert main(["score", "--model", str(tmp_path / "model"), *words]) == 1
    [error] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert f"got --output {output}, " in error
    assert "expected a new file, or one with rows of an earlier run" in error
    assert bytes_below(tmp_path) == before


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_rows_of_an_earlier_run_are_replaced(format, model, images, tmp_path):
    output = tmp_path / "rows"
    command = ["score", "--model", str(model), "--format", format, "--output", str(output)]
    output.write_text("")  # As `mktemp` makes it.
    assert main([*command, *map(str, images)]) in (0, 3)
    before = output.read_text()
    (tmp_path / "rows.part").write_text(before[:100])  # As a run that was killed leaves it.
    for kind in ("csv", "jsonl"):
        assert main([*command, *map(str, images), "--format", kind]) in (0, 3)
    assert main([*command, *map(str, images)]) in (0, 3)
    assert output.read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "rows"]


@pytest.fixture
def vanishing(monkeypatch):
    """Removes a file after all were checked and before any is scored."""

    def vanish(path: Path) -> None:
        def load(*args, **kwargs):
            found = load_files(*args, **kwargs)
            path.unlink()
            return found

        monkeypatch.setattr("jaxunreg.cli.sources.load_files", load)

    monkeypatch.setattr(room, "MOST_BYTES", 0)
    return vanish


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("last", [1, 4])
def test_a_file_that_is_gone_before_it_is_scored_is_skipped(last, maps, model, images, vanishing, tmp_path, capsys):
    command = ["score", str(tmp_path / "new"), "--model", str(model)]
    command += ["--heat-maps", str(tmp_path / "maps")] if maps else []
    main(command)
    expected = rows(capsys.readouterr().out)
    vanishing(images[last])
    assert main([*command, "--on-error", "skip"]) in (0, 3)
    out, err = capsys.readouterr()
    found = {row["path"]: row for row in rows(out)}
    gone = found.pop(str(images[last]))
    assert (gone["verdict"], gone["reason"][:16]) == ("skipped", "cannot be opened")
    assert list(found.values()) == [row for row in expected if row["path"] != str(images[last])]
    assert "of 4 images are anomalous, 1 files were skipped" in err
    assert f"skipped: {images[last]}: cannot be opened" in err


def test_all_rows_before_a_file_that_is_gone_are_there(model, images, vanishing, tmp_path, capsys):
    """They do not wait for as many images as fill a call of the network."""
    command = ["score", str(tmp_path / "new"), "--model", str(model)]
    vanishing(images[3])
    assert main([*command, "--output", str(tmp_path / "x.csv")]) == 1
    err = capsys.readouterr().err
    assert f"rows that were there before: 3, in {tmp_path / 'x.csv.part'}" in err
    assert "3.png: cannot be opened" in err.splitlines()[-1]
    assert [Path(row["path"]) for row in rows((tmp_path / "x.csv.part").read_text())] == images[:3]


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="no such flag")
def test_rows_are_not_written_through_a_link_nor_beside_another_run(model, images, tmp_path, capsys):
    (tmp_path / "x.csv.part").symlink_to(tmp_path / "elsewhere")
    command = ["score", str(images[0]), "--model", str(model), "--output"]
    assert main([*command, str(tmp_path / "x.csv")]) == 1
    assert "which cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()
    with growing(tmp_path / "y.csv") as part:
        assert main([*command, str(tmp_path / "y.csv")]) == 1
        assert "where another run is writing right now" in capsys.readouterr().err
        part.write_text("whole")
    assert (tmp_path / "y.csv").read_text() == "whole"


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_names_are_no_formulas_and_do_nothing_to_a_terminal(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = ["+1.png", "=1+1.png", "\x1b[31mred\n.png", "plain.png"]
    for name in names:
        write(Path(name), good(1))
    Path("-bad\x1b.png").write_bytes(b"")
    command = ["score", *(f"./{name}" for name in names), "./-bad\x1b.png", "--model", str(model)]
    main([*command, "--on-error", "skip"])
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert sorted(row["path"] for row in rows(out)) == sorted(
        ["./+1.png", "./-bad\\x1b.png", "./=1+1.png", "\\x1b[31mred\\n.png", "plain.png"]
    )
    main([*command, "--on-error", "skip", "--format", "jsonl"])
    found = [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()]
    assert sorted(found) == sorted([*names, "-bad\x1b.png"])
    # As one line, with or without its traceback.
    for words in (command, [*command, "--debug"]):
        assert main(words) == 1
        assert "\x1b" not in (err := capsys.readouterr().err)
        assert err.splitlines()[-1].startswith("error: -bad\\x1b.png: is empty")


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_name_that_stdout_cannot_encode_does_not_end_the_run(format, model, tmp_path, monkeypatch):
    names = ["caf\u00e9.png", "\u56fe.png", "\U0001f600.png"]
    for name in names:
        write(tmp_path / name, good(1))
    # As on Windows, where a stream that is not a console has the encoding of the country.
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", write_through=True)
    monkeypatch.setattr("sys.stdout", stdout)
    assert main(["score", str(tmp_path), "--model", str(model), "--format", format]) in (0, 3)
    text = stdout.buffer.getvalue().decode("cp1252")
    if format == "csv":
        assert [Path(row["path"]).name for row in rows(text)] == ["caf\u00e9.png", "\\u56fe.png", "\\U0001f600.png"]
    else:
        assert [Path(json.loads(line)["path"]).name for line in text.splitlines()] == names
