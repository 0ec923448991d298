"""Magnetic tiles: photographs of one tile stay together, in a layout written here and in the real data set."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxunreg.datasets.folders import ImageFileError
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.folders.magnetic_tile import tile_groups

REAL = Path(os.environ.get("JAXUNREG_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "magnetic_tile"


def write_tile(root: Path, label: str, first: int, exposures: range = range(1, 7), marked: bool = True) -> None:
    for k, exposure in enumerate(exposures):
        path = root / f"MT_{label}" / f"exp{exposure}_num_{first + 20 * k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((12, 10 + k), first % 251, np.uint8)).save(path)
        mask = np.zeros((12, 10 + k), np.uint8)
        mask[2:4, 3:5] = 255 if label != "Free" and marked else 0
        Image.fromarray(mask).save(path.with_suffix(".png"))


def test_tiles_are_told_apart_by_the_order_of_the_frames():
    whole = {first: [(first + 20 * k, 1 + k) for k in range(6)] for first in (0, 1000, 2000, 9000)}
    frames = [frame for tile in whole.values() for frame in tile]
    groups = tile_groups(frames)
    assert [groups[frame] for frame in frames] == [f"tile-{first}" for first in whole for _ in range(6)]
    # In turns: the tiles that cannot be told apart make one group, and the next begins afresh.
    turns = whole[0] + [(frame + 7, exposure) for frame, exposure in whole[0]]
    assert set(tile_groups(turns + whole[1000]).values()) == {"tile-0", "tile-1000"}
    # Soon after each other: not told apart.
    assert set(tile_groups(whole[0] + [(frame + 150, exposure) for frame, exposure in whole[0]]).values()) == {"tile-0"}
    # Without its beginning a tile goes with the one before, without its middle with the one after.
    assert set(tile_groups(whole[0] + [(3000, 5), (3020, 6)]).values()) == {"tile-0"}
    groups = tile_groups(whole[0] + [(3000, 1), (3020, 2), (3040, 6)] + whole[9000])
    assert {groups[frame] for frame in whole[9000]} == {"tile-3000"}
    # Exposure 0 comes before 1, and a data set of one exposure has a tile a photograph.
    assert set(tile_groups([(0, 0), (20, 1)] + [(20 * k, k) for k in range(2, 7)]).values()) == {"tile-0"}
    assert len(set(tile_groups([(1000 * k, 3) for k in range(4)]).values())) == 4


def test_a_tile_that_was_photographed_again_is_one_tile():
    first, again = ([(frame + 20 * k, 1 + k) for k in range(6)] for frame in (53_009, 64_981))
    between = [(60_000 + 20 * k, 1 + k) for k in range(6)]
    groups = tile_groups(first + between + again)
    assert {groups[frame] for frame in first + again} == {"tile-53009"}
    assert {groups[frame] for frame in between} == {"tile-60000"}


def test_the_layout(tmp_path, caplog):
    for k in range(8):
        write_tile(tmp_path, "Free", 10_000 * (1 + k))
    write_tile(tmp_path, "Crack", 5000, range(1, 4))  # one tile, of which three photographs show the crack
    write_tile(tmp_path, "Free", 5060, range(4, 7))
    write_tile(tmp_path, "Blowhole", 7000, marked=False)
    (tmp_path / "README.md").write_text("x")
    with caplog.at_level(logging.INFO, logger="jaxunreg.datasets"):
        data = load_folder(tmp_path)
    assert (data.layout, data.channels) == ("magnetic-tile", 1)
    assert data.train.labels == ("good",) * 36
    groups = [{file.group for file in split.files} for split in (data.train, data.test)]
    assert groups[0].isdisjoint(groups[1])
    assert {"tile-5000", "tile-7000"} <= groups[1]
    assert len(groups[1]) == 4
    assert len(data.test) == 24
    assert sorted(file.label for file in data.test.files if file.group == "tile-5000") == ["crack"] * 3 + ["good"] * 3
    crack = data.test.labels.index("crack")
    assert data.test.mask(crack).sum() == 4
    # Masks that mark nothing are as good as none, and are said to be.
    assert data.test.mask(data.test.labels.index("blowhole")) is None
    assert len(data.skipped) == 7
    assert "no tile is in both splits" in caplog.text
    assert load_folder(tmp_path, test_fraction=0.5).describe()["test"]["groups"] == 6


def test_what_is_missing_is_named(tmp_path):
    for k in range(3):
        write_tile(tmp_path, "Free", 10_000 * (1 + k))
    path = tmp_path / "MT_Free" / "exp1_num_10000.jpg"
    path.with_suffix(".png").rename(tmp_path / "kept.png")
    with pytest.raises(ImageFileError, match=r"exp1_num_10000\.jpg: has no mask; expected exp1_num_10000\.png beside"):
        load_folder(tmp_path)
    (tmp_path / "kept.png").rename(path.with_suffix(".png"))
    path.rename(path.with_name("photo.jpg"))
    with pytest.raises(ImageFileError, match=r"photo\.jpg: has a name that does not tell its tile"):
        load_folder(tmp_path)
    data = load_folder(tmp_path, on_error="skip")
    assert sorted(entry.path.name for entry in data.skipped) == ["exp1_num_10000.png", "photo.jpg"]


def test_the_files_may_lie_one_folder_deeper(tmp_path):
    for k in range(3):
        write_tile(tmp_path, "Free", 10_000 * (1 + k))
    (tmp_path / "MT_Free").rename(tmp_path / "Imgs")
    (tmp_path / "MT_Free").mkdir()
    (tmp_path / "Imgs").rename(tmp_path / "MT_Free" / "Imgs")
    assert len(load_folder(tmp_path, test_fraction=0.0).train) == 18


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no magnetic tiles in {REAL.name}; set JAXUNREG_TEST_DATA")
def test_no_tile_of_the_real_data_is_in_both_splits():
    data = load_folder(REAL, progress=False)
    description = data.describe()
    counts = {"blowhole": 115, "break": 85, "crack": 57, "fray": 32, "uneven": 103}
    assert {label: n for label, n in description["test"]["labels"].items() if label != "good"} == counts
    assert len(data.train) + len(data.test) == 1344
    assert description["train"]["labels"] == {"good": len(data.train)}
    assert len(data.train) > 500
    # Only the four masks without a mark are reported.
    assert len(data.skipped) == 4

    # By their look: the fine structure of two photographs, at one size and without smooth parts.
    def fine(image: np.ndarray) -> np.ndarray:
        small = Image.fromarray(image[:, :, 0]).resize((64, 96))
        smooth = small.convert("F").resize((8, 12)).resize((64, 96))
        rest = (np.asarray(small, np.float32) - np.asarray(smooth)).ravel()
        return (rest - rest.mean()) / (rest.std() + 1e-6)

    features = np.stack([fine(image) for images in (data.train, data.test) for image in images])
    alike = features @ features.T / features.shape[1]
    train = np.arange(1344) < len(data.train)
    assert alike[train][:, ~train].max() < 0.92
    # A split by the frame number, which every photograph has for itself, would put twins on both sides.
    frames = [int(file.path.stem.rsplit("_", 1)[1]) for images in (data.train, data.test) for file in images.files]
    assert len(set(frames)) == 1344
    by_frame = np.random.default_rng(0).permutation(1344) < len(data.train)
    assert alike[by_frame][:, ~by_frame].max() > 0.99
