"""How a detector remembers the files that it was made of."""

from jaxunreg.datasets.folders.image_files import ImageFiles


def remembered_hashes(images: ImageFiles) -> list[str]:
    """What a detector remembers of each file: 16 hexadecimal digits of the SHA-256 of its bytes."""
    return [digest[:16] for digest in images.hashes]
