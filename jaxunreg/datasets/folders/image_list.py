"""A CSV file that lists images with their labels, and perhaps masks, groups and splits."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from jaxunreg.datasets.file_errors import ListError
from jaxunreg.datasets.folders.image_file import GOOD, ImageFile
from jaxunreg.datasets.folders.unusable import ImageFileError, Skipped
from jaxunreg.paths import read_file

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "image", "image_path", "file", "filename"),
    "label": ("label", "class"),
    "mask": ("mask", "mask_path"),
    "split": ("split", "set"),
    "group": ("group", "part"),
    "object": ("object", "category"),
}
"""What the columns may be called, in lower case."""

NORMAL_LABELS = ("good", "normal", "ok", "0")

_TRAIN, _TEST = ("train", "training", "val", "validation"), ("test",)


class ListedFiles(NamedTuple):
    """What a list names.

    Attributes:
      train: normal images.
      test: normal images and defects.
      reported: what was left out.
      failures: rows whose files cannot be used.
      has_split: whether the list tells training and test images apart.
    """

    train: list[ImageFile]
    test: list[ImageFile]
    reported: list[Skipped]
    failures: list[ImageFileError]
    has_split: bool


def read_list(file: Path, folder: Path, *, only: str | None = None) -> ListedFiles:
    """Read a list of images.

    The first row names the columns: `path`, and perhaps `label`, `mask`, `split` (train or test) and `group`. Cells are
    separated by commas, semicolons or tabs. Without a column of labels all images are normal.

    Args:
      file: the list.
      folder: to which its paths are relative.
      only: take the rows whose `object` is this one, as in VisA's list.

    Raises:
      ListError: it is no such list, or a row cannot be understood. Rows and columns are named, and the row of the
        names is row 1.
      OSError: it cannot be read.
    """
    rows = _rows(file)
    try:
        _, names = next(rows)
    except StopIteration:
        raise ListError(file, "is empty", "a first row with the names of its columns, such as path,label") from None
    place = _columns(file, names)
    unknown = [name for k, name in enumerate(names) if k not in place.values()]
    reported = [Skipped(file, f"column {name!r} has no meaning in a list of images") for name in unknown]
    found = ListedFiles([], [], reported, [], has_split="split" in place)
    seen: dict[Path, int] = {}
    for number, cells in rows:
        if len(cells) != len(names):
            raise ListError(file, f"row {number} has {len(cells)} cells", f"{len(names)}, as the first row has")
        row = {column: cells[k].strip() for column, k in place.items()}
        if only is not None and row.get("object") != only:
            continue
        _add_row(_Row(file, number, row, {column: names[k] for column, k in place.items()}), folder, seen, found)
    return found


class _Row(NamedTuple):
    """One row: its cells by the meaning of the columns, and what the columns are called."""

    file: Path
    number: int
    cells: Mapping[str, str]
    names: Mapping[str, str]

    def place(self, column: str) -> str:
        return f"row {self.number}, column {self.names[column]!r}"

    def wrong(self, column: str, got: str, expected: str) -> ListError:
        return ListError(self.file, f"{self.place(column)}: {got}", expected, "correct the row")


def _add_row(row: _Row, folder: Path, seen: dict[Path, int], found: ListedFiles) -> None:
    if not row.cells["path"]:
        raise row.wrong("path", "is empty", "the path of an image")
    path = folder / row.cells["path"]
    if path in seen:
        raise row.wrong("path", f"names the image of row {seen[path]} again", "each image once")
    seen[path] = row.number
    label = row.cells.get("label", GOOD)
    if not label:
        raise row.wrong("label", "is empty", f"{GOOD}, or the name of a defect")
    label = GOOD if label.lower() in NORMAL_LABELS else label
    mask = folder / row.cells["mask"] if row.cells.get("mask") else None
    is_test = _is_test(row, label)
    for column, file in (("path", path), ("mask", mask)):
        if file is not None and not file.exists():
            found.failures.append(
                ImageFileError(
                    row.file,
                    f"{row.place(column)}: names {row.cells[column]!r}, which does not exist",
                    f"a path relative to {folder}, or one from the root",
                    "correct the row",
                )
            )
            return
    group = row.cells.get("group") or Path(row.cells["path"]).with_suffix("").as_posix()
    (found.test if is_test else found.train).append(ImageFile(path, label, mask, group))


def _is_test(row: _Row, label: str) -> bool:
    if "split" not in row.cells:
        return label != GOOD
    split = row.cells["split"].lower()
    if split not in (*_TRAIN, *_TEST):
        raise row.wrong("split", f"is {row.cells['split']!r}", "train or test")
    if split in _TRAIN and label != GOOD:
        raise row.wrong("split", f"is {row.cells['split']!r} for an image with the label {label!r}", "test for defects")
    return split in _TEST


def _columns(file: Path, names: list[str]) -> dict[str, int]:
    """Where each column that has a meaning stands."""
    place: dict[str, int] = {}
    for k, name in enumerate(names):
        for column, called in COLUMNS.items():
            if name.strip().lower() in called:
                if column in place:
                    raise ListError(file, f"has the columns {names[place[column]]!r} and {name!r}", f"one for {column}")
                place[column] = k
    if "path" not in place:
        raise ListError(
            file,
            f"has the columns {', '.join(map(repr, names))}",
            f"one called {' or '.join(COLUMNS['path'])}",
            "name the columns in the first row",
        )
    return place


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, with their numbers from 1."""
    try:
        text = read_file(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ListError(file, f"is not UTF-8 (byte {error.start})", "a CSV file in UTF-8", "save it so") from error
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 1):
            if any(cell.strip() for cell in cells):
                yield number, cells
    except csv.Error as error:
        raise ListError(file, f"is no CSV file ({error})", "rows of cells", "save it again") from error
