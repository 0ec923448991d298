"""The layouts in which data sets are published: VisA, KolektorSDD, BTAD and MVTec LOCO, written here in small."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from jaxunreg.datasets.folders import ImageFileError
from jaxunreg.datasets.folders.dataset import load_folder
from tests.datasets.written_images import gray, reason, write, write_mask, write_tree


def mask(*marked: tuple[int, int], value: int = 255) -> np.ndarray:
    pixels = np.zeros((6, 9), np.uint8)
    for place in marked:
        pixels[place] = value
    return pixels


def write_visa(root: Path, name: str = "candle") -> Path:
    """An object with three normal images and two anomalies. The mask of the second has two classes."""
    data = root / name / "Data"
    for k in range(3):
        write(data / "Images" / "Normal" / f"{k:04}.JPG", gray(k))
    for k in range(2):
        write(data / "Images" / "Anomaly" / f"{k:03}.JPG", gray(10 + k))
        pixels = mask((1, 1))
        pixels[:] = pixels // 255
        pixels[4, 4] = 2 * k
        write(data / "Masks" / "Anomaly" / f"{k:03}.png", pixels)
    return root / name


def test_an_object_of_visa_is_split_as_its_list_says(tmp_path):
    root = write_visa(tmp_path)
    rows = [
        "object,split,label,image,mask",
        "candle,train,normal,candle/Data/Images/Normal/0000.JPG,",
        "candle,train,normal,candle/Data/Images/Normal/0001.JPG,",
        "candle,test,normal,candle/Data/Images/Normal/0002.JPG,",
        *(f"candle,test,anomaly,candle/Data/Images/Anomaly/{k}.JPG,candle/Data/Masks/Anomaly/{k}.png"
          for k in ("000", "001")),
        "capsules,train,normal,capsules/Data/Images/Normal/0000.JPG,",
    ]  # fmt: skip
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv" / "1cls.csv").write_text("\r\n".join(rows))
    data = load_folder(root)
    assert (data.layout, data.split, data.has_split, data.skipped) == ("visa", "as on disk", True, ())
    assert [file.path.name for file in data.train.files] == ["0000.JPG", "0001.JPG"]
    assert data.test.labels == ("good", "anomaly", "anomaly")
    np.testing.assert_array_equal(data.test.mask(2), mask((1, 1), (4, 4)) > 0)
    with pytest.raises(ValueError, match="holds the objects of VisA; expected one of them, candle"):
        load_folder(tmp_path)
    root.rename(tmp_path / "cashew")
    with pytest.raises(ValueError, match=r"cashew has no training image in .*1cls\.csv; expected rows with its name"):
        load_folder(tmp_path / "cashew")


def test_an_object_of_visa_without_its_list(tmp_path):
    data = load_folder(write_visa(tmp_path), test_fraction=0.4)
    assert (len(data.train), data.test.labels) == (2, ("good", "anomaly", "anomaly"))
    assert not data.has_split
    assert [file.mask is not None for file in data.test.files] == [False, True, True]


def test_kolektor_surfaces_are_defects_where_their_masks_mark_something(tmp_path):
    for item in range(4):
        for part in range(3):
            write(tmp_path / f"kos{item + 1:02}" / f"Part{part}.jpg", gray(3 * item + part))
            marked = [(2, 3)] if part == item % 3 else []
            write(tmp_path / f"kos{item + 1:02}" / f"Part{part}_label.bmp", mask(*marked))
    data = load_folder(tmp_path)
    assert (data.layout, data.skipped) == ("kolektor", ())
    assert set(data.train.labels) == {"good"}
    assert sorted(data.test.labels) == ["defect"] * 4 + ["good"] * 2
    # The normal surfaces of an item stay together, and each image is in one split.
    groups = [{file.group for file in files if file.label == "good"} for files in (data.train.files, data.test.files)]
    assert groups[0].isdisjoint(groups[1])
    assert (len(groups[0]), len(groups[1])) == (3, 1)
    assert len({file.path for file in (*data.train.files, *data.test.files)}) == 12
    assert "items, with all their normal surfaces, is held out" in data.split
    defect = data.test.labels.index("defect")
    np.testing.assert_array_equal(data.test.mask(defect), mask((2, 3)) > 0)
    (tmp_path / "kos01" / "Part1_label.bmp").unlink()
    with pytest.raises(ImageFileError, match=r"kos01/Part1\.jpg: has no mask, which tells whether it has a defect"):
        load_folder(tmp_path)
    assert len(load_folder(tmp_path, on_error="skip").skipped) == 1


def test_btad(tmp_path):
    for k in range(3):
        write(tmp_path / "train" / "ok" / f"{k:04}.bmp", gray(k))
        write(tmp_path / "test" / "ok" / f"{k:04}.bmp", gray(10 + k))
        write(tmp_path / "test" / "ko" / f"{k:04}.bmp", gray(20 + k))
        write_mask(tmp_path / "ground_truth" / "ko" / f"{k:04}.png")
    data = load_folder(tmp_path)
    assert (data.layout, len(data.train), data.skipped) == ("mvtec", 3, ())
    assert data.test.labels == ("ko",) * 3 + ("good",) * 3
    assert all(data.test.mask(k).sum() == 6 for k in range(3))


def write_loco(root: Path) -> Path:
    write_tree(root)
    for name in ("crack", "dent"):
        kind = {"crack": "logical_anomalies", "dent": "structural_anomalies"}[name]
        (root / "test" / name).rename(root / "test" / kind)
    (root / "ground_truth" / "crack").rename(root / "ground_truth" / "old")
    for k, values in enumerate(([255], [254, 253])):
        for number, value in enumerate(values):
            path = root / "ground_truth" / "logical_anomalies" / f"{k:03}" / f"{number:03}.png"
            write(path, mask((number, 4), value=value))
    for path in sorted((root / "ground_truth" / "old").iterdir()):
        path.unlink()
    (root / "ground_truth" / "old").rmdir()
    write(root / "validation" / "good" / "000.png", gray(70))
    return root


def test_mvtec_loco_has_several_masks_an_image(tmp_path):
    data = load_folder(write_loco(tmp_path))
    assert (data.layout, data.split, data.skipped) == ("mvtec-loco", "as on disk", ())
    assert len(data.train) == 6  # five of `train` and one of `validation`
    assert data.test.labels == ("good",) * 2 + ("logical_anomalies",) * 2 + ("structural_anomalies",) * 2
    logical = [k for k, label in enumerate(data.test.labels) if label == "logical_anomalies"]
    np.testing.assert_array_equal(data.test.mask(logical[0]), mask((0, 4)) > 0)
    np.testing.assert_array_equal(data.test.mask(logical[1]), mask((0, 4), (1, 4)) > 0)
    assert data.test.mask(data.test.labels.index("structural_anomalies")) is None
    # Masks count for the fingerprint, also of a copy that another process received.
    before = data.test.fingerprint
    assert pickle.loads(pickle.dumps(data.test)).fingerprint == before
    write(tmp_path / "ground_truth" / "logical_anomalies" / "001" / "001.png", mask((5, 4), value=253))
    assert load_folder(tmp_path).test.fingerprint != before


def test_masks_of_loco_that_do_not_fit_are_named(tmp_path):
    root = write_loco(tmp_path)
    folder = root / "ground_truth" / "logical_anomalies"
    write(folder / "001" / "001.png", np.zeros((6, 8), np.uint8))
    with pytest.raises(ImageFileError, match=r"001/001\.png: has 6x8 pixels; expected 6x9, as the masks before it"):
        load_folder(root)
    (folder / "001" / "001.png").unlink()
    (folder / "empty").mkdir()
    data = load_folder(root)
    assert "has no place" in reason(data.skipped, data.directory / folder.relative_to(tmp_path) / "empty")
    write(folder / "042" / "000.png", mask((0, 0)))
    with pytest.raises(ImageFileError, match=r"042: is a mask of an image '042', which does not exist"):
        load_folder(root)
