"""One object of VisA (Zou et al., "SPot-the-difference", ECCV 2022), as it is unpacked.

An object such as `candle` holds `Data/Images/Normal`, `Data/Images/Anomaly` and `Data/Masks/Anomaly`. Beside the
objects lies `split_csv/1cls.csv`, which tells training and test images apart.
"""

from pathlib import Path

from jaxunreg.datasets.file_errors import FolderError
from jaxunreg.datasets.folders.image_file import GOOD, ImageFile
from jaxunreg.datasets.folders.image_list import ListedFiles, read_list
from jaxunreg.datasets.folders.listing import list_folder, stem_of
from jaxunreg.datasets.folders.unusable import Skipped

_SPLITS = Path("split_csv", "1cls.csv")


def is_visa(root: Path) -> bool:
    """Whether a folder is an object of VisA.

    Raises:
      FolderError: it holds several of them.
    """
    if (root / _SPLITS).is_file():
        objects = sorted(path.parents[1].name for path in root.glob("*/Data/Images"))
        raise FolderError(
            root, "holds the objects of VisA", f"one of them, {' or '.join(objects)}", "give the folder of an object"
        )
    return (root / "Data" / "Images" / "Normal").is_dir()


def find_visa(root: Path) -> ListedFiles:
    """The images of an object, split as `split_csv/1cls.csv` beside it says, where that is there.

    Raises:
      FolderError: the list names no image of the object.
      ListError: the list cannot be understood.
    """
    splits = root.parent / _SPLITS
    if splits.is_file():
        found = read_list(splits, root.parent, only=root.name)
        if not found.train and not found.failures:
            raise FolderError(
                root, f"has no training image in {splits}", "rows with its name as object", "rename the folder"
            )
        return found
    images, masks = root / "Data" / "Images", list_folder(root / "Data" / "Masks" / "Anomaly")
    of_stem = {stem_of(path): path for path in masks.images}
    normal, defects = (list_folder(images / name) for name in ("Normal", "Anomaly"))
    return ListedFiles(
        train=[ImageFile(path, GOOD, None, f"normal/{path.stem}") for path in normal.images],
        test=[
            ImageFile(path, "anomaly", of_stem.get(stem_of(path)), f"anomaly/{path.stem}") for path in defects.images
        ],
        reported=[
            *normal.reported,
            *defects.reported,
            *(
                Skipped(mask, "is a mask without an image")
                for stem, mask in of_stem.items()
                if stem not in {stem_of(path) for path in defects.images}
            ),
        ],
        failures=[],
        has_split=False,
    )
