"""The record that a detector keeps of the files that it was made of."""

from jaxunreg.datasets.folders.image_files import ImageFiles


def remembered_hashes(images: ImageFiles) -> list[str]:
    """Return what a detector stores of each file: 16 hexadecimal digits of the SHA-256 of its bytes."""
    return [digest[:16] for digest in images.hashes]
