"""Layouts of folders: every image is in its place, and what has none is listed."""

import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxunreg.datasets.folders import ImageFileError
from jaxunreg.datasets.folders.dataset import load_folder
from tests.datasets.written_images import gray, reason, write, write_mask, write_tree


def test_an_mvtec_tree(tmp_path):
    root = write_tree(tmp_path / "screw")
    data = load_folder(root)
    assert (data.name, data.layout, data.channels, data.bits, data.skipped) == ("screw", "mvtec", 1, 8, ())
    assert data.train.labels == ("good",) * 5
    assert data.test.labels == ("crack", "crack", "dent", "dent", "good", "good")
    np.testing.assert_array_equal(data.test.is_anomalous, [True, True, True, True, False, False])
    for i in range(5):
        np.testing.assert_array_equal(data.train[i][:, :, 0], gray(i), strict=True)
    expected = np.zeros((6, 9), bool)
    expected[1:3, 2:5] = True
    np.testing.assert_array_equal(data.test.mask(1), expected, strict=True)
    assert data.test.mask(2) is None
    np.testing.assert_array_equal(data.test.mask(4), np.zeros((6, 9), bool), strict=True)
    # Nothing is in both splits, although the files of different folders have the same names.
    groups = [file.group for file in (*data.train.files, *data.test.files)]
    assert len(set(groups)) == 11
    with pytest.raises(ValueError, match=r"got test_fraction=0\.5 for .*screw; expected none, since that has a"):
        load_folder(root, test_fraction=0.5)
    assert load_folder(root, fallback_fraction=0.5).split == "as on disk"


def test_an_mvtec_tree_without_a_test_split_or_with_images_in_train_itself(tmp_path):
    for i in range(4):
        write(tmp_path / "Train" / f"{i}.png", gray(i))
    assert len(load_folder(tmp_path).train) == 4
    assert len(load_folder(tmp_path).test) == 0
    assert len(load_folder(tmp_path, test_fraction=0.5).test) == 2
    assert len(load_folder(tmp_path, fallback_fraction=0.5).test) == 2
    assert len(load_folder(tmp_path, test_fraction=0.0, fallback_fraction=0.5).test) == 0
    write(tmp_path / "Train" / "crack" / "0.png", gray(9))
    with pytest.raises(ValueError, match=r"Train/crack is a training folder called 'crack'; expected normal images"):
        load_folder(tmp_path)


def test_what_has_no_place_in_a_tree_is_listed(tmp_path, caplog):
    root = write_tree(tmp_path)
    (root / "readme.txt").write_text("hello")
    (root / "train" / "good" / "Thumbs.db").write_bytes(b"x")
    (root / "train" / "good" / ".hidden.png").write_bytes(b"x")
    (root / "ground_truth" / "crack" / "._000_mask.png").write_bytes(b"x")
    write(root / "test" / "stray.png", gray(0))
    write(root / "test" / "crack" / "deeper" / "0.png", gray(0))
    write(root / "validation" / "good" / "0.png", gray(0))
    write_mask(root / "ground_truth" / "scratch" / "0_mask.png")
    with caplog.at_level(logging.WARNING, logger="jaxunreg.datasets"):
        data = load_folder(root)
    assert (len(data.train), len(data.test)) == (5, 6)
    expected = {
        "readme.txt": "is not an image by its name",
        "test/stray.png": "has no place in the layout mvtec",
        "test/crack/deeper": "has no place",
        "validation": "has no place",
        "ground_truth/scratch": "there is no folder test/scratch",
    }
    listed = {path.relative_to(data.directory).as_posix(): why for path, why in data.skipped}
    assert listed.keys() == expected.keys()
    for name, why in expected.items():
        assert why in listed[name]
        assert name in caplog.text


@pytest.mark.parametrize(("normal", "abnormal"), [("good", "bad"), ("OK", "NG"), ("Normal", "scratched")])
def test_two_folders(tmp_path, normal, abnormal):
    for i in range(8):
        write(tmp_path / normal / f"{i}.png", gray(i, height=6 + i))
    for i in range(3):
        write(tmp_path / abnormal / f"{i}.bmp", gray(20 + i))
    write_mask(tmp_path / abnormal / "1_mask.png", value=1)
    data = load_folder(tmp_path)
    assert (data.layout, data.skipped) == ("normal-abnormal", ())
    assert set(data.train.labels) == {"good"}
    assert sorted(data.test.labels) == sorted(["good"] * 2 + [abnormal] * 3)
    # Every image is in one split, once.
    paths = [file.path.name for file in (*data.train.files, *data.test.files)]
    assert sorted(paths) == sorted([f"{i}.png" for i in range(8)] + [f"{i}.bmp" for i in range(3)])
    (with_mask,) = [i for i, file in enumerate(data.test.files) if file.mask]
    assert data.test.files[with_mask].path.name == "1.bmp"
    assert data.test.mask(with_mask).sum() == 6
    # The choice depends on the seed, and neither on the order nor on the number of the other files.
    chosen = {file.path.name for file in data.test.files if file.label == "good"}
    others = [{f.path.name for f in load_folder(tmp_path, seed=s).test.files if f.label == "good"} for s in range(5)]
    assert others[0] == chosen
    assert any(other != chosen for other in others)
    assert len(load_folder(tmp_path, test_fraction=0.0).train) == 8


def test_a_plain_folder_is_all_normal(tmp_path):
    for i in range(5):
        write(tmp_path / f"{i}.png", gray(i))
    data = load_folder(tmp_path)
    assert (data.layout, len(data.train), len(data.test)) == ("plain", 5, 0)
    assert data.test.nbytes == 0
    half = load_folder(tmp_path, test_fraction=0.4)
    assert (len(half.train), len(half.test)) == (3, 2)
    assert not half.test.is_anomalous.any()
    write_mask(tmp_path / "3_mask.png")
    with pytest.raises(ImageFileError, match=r"3_mask\.png: marks 6 pixels of 3\.png, which is among the normal"):
        load_folder(tmp_path)


def test_folders_without_a_layout_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; expected a folder of images"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no image and no folder; expected images, or `train/good`"):
        load_folder(tmp_path)
    path = write(tmp_path / "lot1" / "0.png", gray(0))
    with pytest.raises(NotADirectoryError, match=r"0\.png is a file; expected a folder"):
        load_folder(path)
    with pytest.raises(ValueError, match=r"holds no image and the folders lot1; expected"):
        load_folder(tmp_path)
    write(tmp_path / "good" / "0.png", gray(0))
    write(tmp_path / "ok" / "0.png", gray(0))
    with pytest.raises(ValueError, match=r"the folders good, ok; expected one folder of normal images"):
        load_folder(tmp_path)
    shutil.rmtree(tmp_path / "ok")
    (tmp_path / "test").mkdir()
    with pytest.raises(ValueError, match=r"the folders good, test; expected `train` beside `test`"):
        load_folder(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match=r"holds no normal image to train on \(layout mvtec\)"):
        load_folder(tmp_path)


def test_names_that_say_two_things(tmp_path):
    for i in range(3):
        write(tmp_path / "good" / f"{i}.png", gray(i))
    write(tmp_path / "bad" / "0.jpg", gray(0))
    write_mask(tmp_path / "bad" / "0.png")
    with pytest.raises(ImageFileError, match=r"bad/0\.jpg: shares its name .*0\.png\).*; call a mask NAME_mask"):
        load_folder(tmp_path)
    (tmp_path / "bad" / "0.png").rename(tmp_path / "bad" / "0_mask.png")
    write_mask(tmp_path / "bad" / "7_mask.png")
    data = load_folder(tmp_path)
    assert "no image '7' beside it" in reason(data.skipped, data.directory / "bad" / "7_mask.png")
    write_mask(tmp_path / "ground_truth" / "bad" / "8.png")
    with pytest.raises(ImageFileError, match=r"ground_truth/bad/8\.png: is a mask of an image '8', which does not"):
        load_folder(tmp_path)


def test_an_empty_mask_of_a_defect_is_no_mask(tmp_path):
    root = write_tree(tmp_path).resolve()
    mask = write_mask(root / "ground_truth" / "crack" / "000_mask.png", value=0)
    data = load_folder(root)
    assert "marks nothing of 000.png" in reason(data.skipped, mask)
    assert data.test.labels[0] == "crack"
    assert data.test.mask(0) is None


def test_the_description_is_json(tmp_path):
    description = load_folder(write_tree(tmp_path / "tree")).describe()
    assert json.loads(json.dumps(description)) == description
    assert description["test"]["labels"] == {"crack": 2, "dent": 2, "good": 2}
    assert description["test"]["masks"] == 2
    assert description["train"]["smallest"] == [6, 9]
    assert str(tmp_path) not in json.dumps(description)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"color": "blue"}, "got color='blue'; expected"), ({"on_error": "ignore"}, "got on_error='ignore'; expected")],
)
def test_bad_arguments_are_refused(tmp_path, no_type_checks, arguments, message):
    write(tmp_path / "0.png", gray(0))
    with pytest.raises(ValueError, match=message):
        load_folder(tmp_path, **arguments)


@pytest.mark.parametrize("names", [("good", "Good", "crack"), ("good", "crack", "Crack"), ("train", "Train", "test")])
def test_folders_that_differ_in_case_alone_are_not_dropped(names, tmp_path):
    for name in names:
        (tmp_path / name).mkdir()
        Image.new("L", (8, 6)).save(tmp_path / name / "1.png")
    if len({name.lower() for name in (path.name for path in tmp_path.iterdir())}) == len(list(tmp_path.iterdir())):
        pytest.skip("this file system knows no upper and lower case")
    with pytest.raises(ValueError, match="differ only in upper and lower case; expected one of them"):
        load_folder(tmp_path, progress=False)
