"""Folders of images: their layouts, and image files as a sequence of arrays."""

from jaxunreg.datasets.folders.dataset import FolderDataset, load_folder
from jaxunreg.datasets.folders.files import load_files
from jaxunreg.datasets.folders.image_file import GOOD, UNKNOWN, ImageFile
from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.datasets.folders.splitting import held_out
from jaxunreg.datasets.folders.unusable import ImageFileError, Skipped

__all__ = [
    "GOOD",
    "UNKNOWN",
    "FolderDataset",
    "ImageFile",
    "ImageFileError",
    "ImageFiles",
    "Skipped",
    "held_out",
    "load_files",
    "load_folder",
]
