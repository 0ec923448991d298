"""`jaxunreg score --heat-maps`: the pictures, their places, and the files after an error."""

import csv
import errno
import io
from pathlib import Path

import numpy as np
from PIL import Image

from jaxunreg.cli.main import main
from jaxunreg.plots import style
from tests.cli.drawn_files import good, odd, rows, write


def test_heat_maps_are_pictures_of_the_whole_image(model, tmp_path, capsys):
    image = odd(5)
    write(tmp_path / "in" / "x" / "a.png", image)
    write(tmp_path / "in" / "x" / "a.bmp", image)
    write(tmp_path / "in" / "y" / "a.png", image)
    maps = tmp_path / "maps"
    assert main(["score", str(tmp_path / "in"), "--model", str(model), "--heat-maps", str(maps)]) == 3
    found = {Path(row["path"]).relative_to(tmp_path / "in").as_posix(): row for row in rows(capsys.readouterr().out)}
    assert {name: row["heat_map"] for name, row in found.items()} == {
        name: str(maps / f"{name}.png") for name in ("x/a.png", "x/a.bmp", "y/a.png")
    }
    with Image.open(maps / "x" / "a.png.png") as picture:
        assert picture.width == 1080
        colors = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    # The last colours of the heat, which the gray image has not.
    assert ((colors[:, 0] > 200) & (colors[:, 2] < 120)).any()
    inside = ["score", str(tmp_path / "in"), "--model", str(model), "--heat-maps", str(tmp_path / "in" / "maps")]
    assert main(inside) == 1
    assert "would be scored as images the next time" in capsys.readouterr().err


def test_heat_maps_stay_in_their_folder_and_apart_from_the_images(model, tmp_path, monkeypatch, capsys):
    write(tmp_path / "in" / "a.png", odd(5))
    write(tmp_path / "more" / "b.png", odd(6))
    monkeypatch.chdir(tmp_path / "in")
    run = ["score", "a.png", "../more/b.png", "--model", str(model), "--heat-maps"]
    assert main([*run, str(tmp_path / "deep" / "maps")]) == 3
    found = {path.relative_to(tmp_path / "deep" / "maps").as_posix() for path in tmp_path.rglob("*.png.png")}
    assert found == {"in/a.png.png", "more/b.png.png"}
    capsys.readouterr()
    for folder in (".", str(tmp_path)):
        alone = ["score", "a.png", "--model", str(model), "--heat-maps", folder] if folder == "." else [*run, folder]
        assert main(alone) == 1
        assert "would lie among the images that are scored" in capsys.readouterr().err
    assert not (tmp_path / "in" / "a.png.png").exists()


def test_a_long_name_does_not_end_the_scoring(model, tmp_path, capsys):
    names = ["a.png", 251 * "b" + ".png", 248 * "c" + ".png"]
    for k, name in enumerate(names):
        write(tmp_path / "new" / name, good(k))
    maps = tmp_path / "maps"
    assert main(["score", str(tmp_path / "new"), "--model", str(model), "--heat-maps", str(maps)]) in (0, 3)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [Path(row["path"]).name for row in rows] == names
    assert sorted(Path(row["heat_map"]).name for row in rows) == sorted(path.name for path in maps.iterdir())


def test_the_rows_before_an_error_are_kept_and_the_file_is_named(model, tmp_path, monkeypatch, capsys):
    for k in range(3):
        write(tmp_path / "new" / f"{k}.png", good(k))
    save = style.save_figure

    def full(figure, target):
        if target.name == "1.png.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        save(figure, target)

    monkeypatch.setattr(style, "save_figure", full)
    command = ["score", str(tmp_path / "new"), "--model", str(model), "--heat-maps", str(tmp_path / "maps")]
    assert main([*command, "--output", str(tmp_path / "scores.csv")]) == 1
    err = capsys.readouterr().err
    assert f"rows that were there before: 1, in {tmp_path / 'scores.csv.part'}" in err
    assert "1.png.png, which cannot be written: [Errno 28] No space left on device" in err
    assert not (tmp_path / "scores.csv").exists()
    assert len((tmp_path / "scores.csv.part").read_text().splitlines()) == 2
