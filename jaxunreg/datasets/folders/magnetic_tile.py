"""The magnetic tiles of Huang, Qiu and Yuan.

Six folders, `MT_Free` and five defects, hold `expA_num_B.jpg` with its mask `expA_num_B.png` beside it. Each tile was
photographed under six exposures in turn, and B counts the frames of the camera. Every image has its own B, so a split
by B alone would put the same tile on both sides. The order of the frames tells tiles apart. Five tiles were
photographed twice, and were recognised by their look.

References:
  Huang, Y., Qiu, C. and Yuan, K. Surface Defect Saliency of Magnetic Tile. The Visual Computer 36, 2020.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from jaxunreg.datasets.folders.image_file import GOOD, ImageFile
from jaxunreg.datasets.folders.listing import list_folder
from jaxunreg.datasets.folders.unusable import ImageFileError, Skipped

NORMAL_FOLDER = "MT_Free"

# Frames between two tiles: within a tile half of the steps are below 20 frames, and 99 % below 190.
_FRAMES_BETWEEN_TILES = 200

# Tiles without a defect that were photographed again later, each by one frame of either series. They were found by
# phase correlation of the fine structure of all photographs of about one size, with the grinding lines removed, and
# then by eye: the best match of two tiles is between 0.75 and 0.91 for these five pairs and below 0.62 for all other
# pairs, while two photographs of one series have 0.80 in the median.
_PHOTOGRAPHED_AGAIN = ((8676, 10642), (5924, 13549), (53049, 65001), (306622, 309443), (355669, 358102))

_NAME = re.compile(r"exp(\d+)_num_(\d+)")


class TileFiles(NamedTuple):
    """The contents of the folders.

    Attributes:
      clean: all images of the tiles without a defect in any photograph.
      others: all images of the other tiles, including images that show no defect.
      reported: files that belong to no image.
      failures: images that cannot be used.
    """

    clean: list[ImageFile]
    others: list[ImageFile]
    reported: list[Skipped]
    failures: list[ImageFileError]


def find_tiles(root: Path) -> TileFiles:
    """List the images with their masks and tiles.

    Args:
      root: the folder of `MT_Free` and the others, which hold their files directly or in a folder `Imgs`.
    """
    files: list[ImageFile] = []
    reported: list[Skipped] = []
    failures: list[ImageFileError] = []
    for folder in list_folder(root).folders:
        if not folder.name.startswith("MT_"):
            reported.append(Skipped(folder, "is not a folder of magnetic tiles; expected a name like MT_Crack"))
            continue
        label = GOOD if folder.name == NORMAL_FOLDER else folder.name.removeprefix("MT_").lower()
        listing = list_folder(folder / "Imgs" if (folder / "Imgs").is_dir() else folder)
        reported += listing.reported
        masks = {path.stem: path for path in listing.images if path.suffix.lower() == ".png"}
        for path in listing.images:
            if path.suffix.lower() == ".png":
                continue
            if not _NAME.fullmatch(path.stem):
                failures.append(
                    ImageFileError(path, "has a name that does not tell its tile", "expA_num_B", "rename it")
                )
            elif path.stem not in masks:
                failures.append(ImageFileError(path, "has no mask", f"{path.stem}.png beside it"))
            else:
                files.append(ImageFile(path, label, masks[path.stem]))
        images = {path.stem for path in listing.images if path.suffix.lower() != ".png"}
        reported += [Skipped(mask, "is a mask without an image") for stem, mask in masks.items() if stem not in images]
    frames = [_frame(file.path) for file in files]
    groups = tile_groups(frames)
    files = [replace(file, group=groups[frame]) for file, frame in zip(files, frames, strict=True)]
    defective = {file.group for file in files if file.label != GOOD}
    return TileFiles(
        clean=[file for file in files if file.group not in defective],
        others=[file for file in files if file.group in defective],
        reported=reported,
        failures=failures,
    )


def _frame(path: Path) -> tuple[int, int]:
    match = _NAME.fullmatch(path.stem)
    assert match is not None
    return int(match[2]), int(match[1])


def tile_groups(frames: list[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Find out which photographs show the same tile.

    In the order of the frames, a new tile begins where the first exposure follows the last one, more than 200 frames
    later, and all exposures have occurred since the last tile began. If tiles were photographed in turns or soon after
    each other, or some exposures are missing, several tiles form one group. Too few groups do no harm, but the same
    tile in two groups would. Five tiles that were photographed twice are joined by name.

    Args:
      frames: frame number B and exposure A of each image.

    Returns:
      The name of the group of each image.

    >>> first = [(frame, 1 + frame) for frame in range(6)]
    >>> groups = tile_groups(first + [(1000, 1), (1020, 2)])
    >>> groups[0, 1], groups[5, 6], groups[1000, 1]
    ('tile-0', 'tile-0', 'tile-1000')
    """
    # Exposure 0 is a rare first one, before exposure 1.
    exposures = {max(exposure, 1) for _, exposure in frames}
    groups: dict[tuple[int, int], str] = {}
    seen: set[int] = set()
    previous = name = None
    for frame, exposure in sorted(frames):
        begins = previous is None or (
            max(exposure, 1) == min(exposures)
            and previous[1] == max(exposures)
            and frame - previous[0] > _FRAMES_BETWEEN_TILES
            and seen == exposures
        )
        if begins:
            name, seen = f"tile-{frame}", set()
        seen.add(max(exposure, 1))
        assert name is not None
        groups[frame, exposure] = name
        previous = frame, exposure
    group_of = {frame: name for (frame, _), name in groups.items()}
    for first, again in _PHOTOGRAPHED_AGAIN:
        if first in group_of and again in group_of:
            group_of = {frame: group_of[first] if name == group_of[again] else name for frame, name in group_of.items()}
    return {(frame, exposure): group_of[frame] for frame, exposure in groups}
