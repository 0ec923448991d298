"""A sentence on the number, the kinds and the sizes of the images of a command."""

from jaxunreg.cli.console import say
from jaxunreg.datasets.folders.dataset import FolderDataset
from jaxunreg.datasets.folders.image_files import ImageFiles


def show_images(what: str, data: FolderDataset, images: ImageFiles) -> None:
    """Say what is done with images of a folder, and how many of its files were skipped.

    Args:
      what: what is done with the images, such as `evaluating on`.
      data: the folder.
      images: the images of the folder that are used.
    """
    kinds = ", ".join(f"{images.labels.count(label)} {label}" for label in sorted(set(images.labels)))
    low, high = images.sizes.min(axis=0), images.sizes.max(axis=0)
    say(f"{what} {len(images)} images ({kinds}) of {low[0]}x{low[1]} to {high[0]}x{high[1]} pixels")
    if data.skipped:
        say(f"{len(data.skipped)} files or folders were skipped, see above")
