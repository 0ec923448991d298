"""Images without labels, to score them."""

from collections.abc import Iterable
from pathlib import Path

from jaxunreg.datasets.file_errors import MissingFileError
from jaxunreg.datasets.folders.checking import check_files, logger
from jaxunreg.datasets.folders.image_file import UNKNOWN, ImageFile
from jaxunreg.datasets.folders.image_files import Color, ImageFiles, OnError
from jaxunreg.datasets.folders.listing import is_named_as_masks, list_folder
from jaxunreg.datasets.folders.pixels import SUFFIXES
from jaxunreg.datasets.folders.unusable import ImageFileError, Skipped
from jaxunreg.errors import ArgumentError
from jaxunreg.paths import given_path


def load_files(
    paths: str | Path | Iterable[str | Path],
    *,
    color: Color = "auto",
    on_error: OnError = "raise",
    min_size: int | None = None,
    label: str = UNKNOWN,
    progress: bool = True,
) -> ImageFiles:
    """Load images without labels, to score them.

    Args:
      paths: files and folders, or one of them. All images below a folder are taken in the order of their names, without
        hidden files. A file with the name of a mask, or in a folder called `ground_truth`, `gt`, `masks`, `labels`,
        `annotations` or `NAME_masks`, is left out and listed in `skipped`.
      color: one choice for all images. `"auto"` is gray if all images are gray, even if some are stored as RGB.
      on_error: whether an unusable file or folder raises, or is left out and listed in `skipped`.
      min_size: the least height and width, in pixels.
      label: the label of all images.
      progress: whether to show a progress bar if it takes more than a few seconds.

    Returns:
      The images, checked.

    Raises:
      ImageFileError: a file cannot be used, and `on_error` is `"raise"`.
      MissingFileError: a file or folder does not exist.
      ArgumentError: there is no image, a folder has none, or none can be used.
    """
    given = [paths] if isinstance(paths, str | Path) else paths
    files: list[ImageFile] = []
    reported: list[Skipped] = []
    failures: list[ImageFileError] = []
    for path in [given_path("paths", path) for path in given]:
        if path.is_dir():
            images, others, unread = images_below(path)
            failures += unread
            if not images and not unread:
                raise ArgumentError(
                    f"no image in {path}",
                    f"files with a suffix among {', '.join(SUFFIXES)}, which are neither hidden nor named as masks",
                    "give another folder",
                    field="paths",
                )
            files += [ImageFile(image, label) for image in images]
            reported += others
        elif not path.exists():
            raise MissingFileError(path, "does not exist", "an image or a folder of images")
        else:
            files.append(ImageFile(path, label))
    if not files and not failures:
        raise ArgumentError(
            "no image",
            f"files with a suffix among {', '.join(SUFFIXES)}, or folders with such",
            "give one or more",
            field="paths",
        )
    checked = check_files(
        files, color=color, on_error=on_error, min_size=min_size, progress=progress, failures=failures
    )
    for entry in reported:
        logger.warning("%s: %s", *entry)
    return ImageFiles(
        checked.files, checked.sizes, checked.channels, checked.bits, skipped=(*reported, *checked.skipped)
    )


def images_below(top: Path) -> tuple[list[Path], list[Skipped], list[ImageFileError]]:
    """Return the images below a folder, the files that are not images, and the folders that cannot be read.

    The contents of each folder are in the order of their names.
    """
    images: list[Path] = []
    reported: list[Skipped] = []
    failures: list[ImageFileError] = []
    seen: dict[Path, Path] = {}

    def add(folder: Path, masks_in: str | None) -> None:
        before = seen.setdefault(folder.resolve(), folder)
        if before != folder:
            reported.append(Skipped(folder, f"is the same folder as {before}, and its images are taken there"))
            return
        try:
            listing = list_folder(folder)
        except OSError as error:
            failures.append(
                ImageFileError(folder, f"cannot be opened ({error.strerror})", advice="check the path and its rights")
            )
            return
        reported.extend(listing.reported)
        masks = {mask: image.name for image, masks in listing.masks.items() for mask in masks}
        for mask, image in sorted(masks.items()):
            reported.append(Skipped(mask, f"is a mask of {image} by its name; give the file itself to score it"))
        if masks_in is not None:
            reported.extend(
                Skipped(path, f"is a mask, since it lies in `{masks_in}`; give the file itself to score it")
                for path in listing.images
            )
        else:
            images.extend(listing.images)
        for inner in listing.folders:
            is_of_masks = masks_in is None and is_named_as_masks(inner, listing.folders)
            add(inner, inner.name if is_of_masks else masks_in)

    add(top, None)
    return images, reported, failures
