"""Lists of images: what their columns mean, and errors that name the row and the column."""

from pathlib import Path

import numpy as np
import pytest

from jaxunreg.datasets.file_errors import ListError
from jaxunreg.datasets.folders import ImageFileError
from jaxunreg.datasets.folders.dataset import load_folder
from tests.datasets.written_images import gray, write, write_mask


@pytest.fixture
def folder(tmp_path) -> Path:
    for k in range(6):
        write(tmp_path / "images" / f"{k}.png", gray(k))
    write_mask(tmp_path / "masks" / "5.png")
    return tmp_path


def listed(folder: Path, *rows: str, name: str = "list.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_text("\n".join(rows), encoding=encoding)
    return path


def test_paths_alone_are_normal_images(folder):
    data = load_folder(listed(folder, "path", *(f"images/{k}.png" for k in range(4))))
    assert (data.name, data.layout, data.directory) == ("list", "list", folder.resolve())
    assert (len(data.train), len(data.test), data.has_split) == (4, 0, False)
    np.testing.assert_array_equal(data.train[2][..., 0], gray(2))
    assert len(load_folder(folder / "list.csv", test_fraction=0.5).test) == 2


def test_labels_masks_and_groups(folder):
    rows = [f"images/{k}.png;{['ok', 'Normal', '0', 'good'][k]};;{'ab'[k // 2]}" for k in range(4)]
    path = listed(folder, "Image;Label;Mask;Part", *rows, "", "images/5.png;deep crack;masks/5.png;c",
                  encoding="utf-8-sig")  # fmt: skip
    data = load_folder(path)
    assert sorted(file.group for file in data.train.files) in (["a", "a"], ["b", "b"])
    assert sorted(data.test.labels) == ["deep crack", "good", "good"]
    assert data.test.mask(data.test.labels.index("deep crack")).sum() == 6
    assert "normal images is held out" in data.split


def test_a_split_is_that_of_the_list(folder):
    elsewhere = folder / "images" / "4.png"
    path = listed(folder, "path\tsplit\tlabel\tnote", "images/0.png\ttrain\tgood\t", "images/1.png\tval\tgood\tx",
                  "images/2.png\ttest\tgood\t", f"{elsewhere}\ttest\tdent\t", name="list.tsv")  # fmt: skip
    data = load_folder(path)
    assert (len(data.train), data.test.labels, data.split) == (2, ("good", "dent"), "as on disk")
    assert [str(entry.reason) for entry in data.skipped] == ["column 'note' has no meaning in a list of images"]
    assert data.describe()["skipped"][0]["path"] == "list.tsv"
    with pytest.raises(ValueError, match=r"test_fraction=0\.5 for .*list\.tsv; expected none, since that has a test"):
        load_folder(path, test_fraction=0.5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "list.csv: is empty; expected a first row with the names of its columns"),
        (["images/0.png,good"], "has the columns 'images/0.png', 'good'; expected one called path or image or"),
        (["path,file", "a,b"], "has the columns 'path' and 'file'; expected one for path"),
        (["path,label", "images/0.png"], "row 2 has 1 cells; expected 2, as the first row has"),
        (["path,label", "images/0.png,good", ",good"], "row 3, column 'path': is empty; expected the path of an image"),
        (["path,label", "images/0.png,"], "row 2, column 'label': is empty; expected good, or the name of a defect"),
        (["file", "images/0.png", "images/0.png"], "row 3, column 'file': names the image of row 2 again"),
        (["path,split", "images/0.png,tset"], "row 2, column 'split': is 'tset'; expected train or test"),
        (["path,label,split", "images/0.png,dent,train"], "row 2, column 'split': is 'train' for an image with the"),
    ],
)
def test_a_row_that_cannot_be_understood_is_named(folder, rows, message):
    with pytest.raises(ListError, match=message.replace(".", r"\.")):
        load_folder(listed(folder, *rows))


def test_files_that_are_missing_are_named_or_skipped(folder):
    path = listed(folder, "path,mask", "images/0.png,", "images/9.png,", "images/1.png,masks/9.png")
    with pytest.raises(ImageFileError, match=r"list\.csv: row 3, column 'path': names 'images/9\.png', which does not "
                       r"exist \(and 1 more files\); expected a path relative to .*"):  # fmt: skip
        load_folder(path)
    data = load_folder(path, on_error="skip")
    assert len(data.train) == 1
    assert [entry.reason.split(":")[0] for entry in data.skipped] == ["row 3, column 'path'", "row 4, column 'mask'"]


def test_what_is_no_list_is_refused(folder):
    (folder / "list.csv").write_bytes("path\nimages/\xe9.png".encode("latin-1"))
    with pytest.raises(ListError, match=r"list\.csv: is not UTF-8 \(byte 12\); expected a CSV file in UTF-8"):
        load_folder(folder / "list.csv")
    with pytest.raises(
        NotADirectoryError, match=r"0\.png is a file; expected a folder of images, or a list in a \.csv"
    ):
        load_folder(folder / "images" / "0.png")
