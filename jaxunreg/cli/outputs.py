"""The outputs of `jaxunreg score` for each image besides its score: pictures, masks, maps and regions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from jaxunreg.cli.detectors import check_promise
from jaxunreg.cli.heat_maps import check_apart, files_for, write_heat_map, write_map, write_region_mask
from jaxunreg.cli.options import CommandError
from jaxunreg.cli.places import check_outside, make_folder
from jaxunreg.cli.rows import Format
from jaxunreg.errors import argument
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.verdict import InspectedImage

MapFormat: TypeAlias = Literal["tiff", "npy"]


class _FrameFiles(dict[Path, Path]):
    """The file of each frame, by its name."""

    def __init__(self, folder: Path, suffix: str) -> None:
        super().__init__()
        self._folder, self._suffix = folder, suffix

    def __missing__(self, frame: Path) -> Path:
        return self._folder / f"{frame}{self._suffix}"


@dataclass(frozen=True)
class Outputs:
    """The outputs to make for each image.

    Attributes:
      heat_maps: folder for pictures of images beside their heat maps, or None.
      heat_map_stride: pixels from one patch to the next in heat maps; None for the stride of the scores.
      masks: folder for masks of the regions, or None.
      maps: folder for heat maps in nats a pixel, or None.
      map_format: format of these files.
      regions: whether to list regions.
      pixel_rate: share of normal images that have any region; None for the rate of the verdicts.
    """

    heat_maps: Path | None = None
    heat_map_stride: int | None = None
    masks: Path | None = None
    maps: Path | None = None
    map_format: MapFormat = "tiff"
    regions: bool = False
    pixel_rate: float | None = None

    @property
    def wants_pixels(self) -> bool:
        """Whether any output needs heat maps."""
        return self.regions or bool(self._folders)

    @property
    def columns(self) -> list[str]:
        """The columns of rows that this fills, besides `heat_map`."""
        wanted = {"regions": self.regions, "mask": self.masks is not None, "map": self.maps is not None}
        return [name for name, is_wanted in wanted.items() if is_wanted]

    @property
    def _folders(self) -> Mapping[str, tuple[str, Path, str]]:
        """Return the option, the folder and the suffix of the files, by the column that names the file."""
        all_of_them = {
            "heat_map": ("--heat-maps", self.heat_maps, ".png"),
            "mask": ("--masks", self.masks, ".png"),
            "map": ("--maps", self.maps, f".{self.map_format}"),
        }
        return {
            column: (option, folder, suffix)
            for column, (option, folder, suffix) in all_of_them.items()
            if folder is not None
        }

    def check(self, detector: AnomalyDetector, targets: Sequence[Path]) -> None:
        """Check everything that can be checked before images are read.

        Args:
          detector: the detector.
          targets: images and folders to score.

        Raises:
          CommandError: a folder is among the images, a level has another stride, or a rate cannot be promised.
          ArgumentError: the detector does not have the stride, or is of an earlier version.
        """
        if self.heat_map_stride is not None:
            detector.scorer.check_stride("heat_map_stride", self.heat_map_stride)
        if self.pixel_rate is not None:
            known = detector.calibration.count if detector.pixel_peaks is None else len(detector.pixel_peaks["m"])
            check_promise("pixel_rate", self.pixel_rate, known)
        if self.regions or self.masks is not None:
            if self.heat_map_stride not in (None, detector.stride):
                raise CommandError(
                    f"regions with {argument('heat_map_stride', self.heat_map_stride)}",
                    f"heat maps of the stride {detector.stride}, at which their level was calibrated",
                    f"leave {argument('heat_map_stride')} out",
                    "heat_map_stride",
                )
            detector.pixel_level(self.pixel_rate)
        folders = [folder.resolve() for _, folder, _ in self._folders.values()]
        if len(set(folders)) < len(folders):
            raise CommandError("one folder for two kinds of files", "a folder for each kind", "name another", "masks")
        for option, folder, _ in self._folders.values():
            check_outside(option, folder, targets)

    def prepare(self, paths: Sequence[Path]) -> Mapping[str, Mapping[Path, Path]]:
        """Make the folders.

        Args:
          paths: paths of the images.

        Returns:
          The file of each image, by the column that names it.

        Raises:
          CommandError: a file would lie among the images.
          CheckpointError: a folder cannot be made.
        """
        targets = {}
        for column, (option, folder, suffix) in self._folders.items():
            check_apart(option, folder, paths, suffix)
            make_folder(option, folder)
            targets[column] = dict(zip(paths, files_for(paths, folder, suffix), strict=True))
        return targets

    def prepare_frames(self) -> Mapping[str, Mapping[Path, Path]]:
        """Make the folders for frames, whose number is unknown.

        Returns:
          The file of each frame by the name of the frame, by the column that names the file.

        Raises:
          CheckpointError: a folder cannot be made.
        """
        for option, folder, _ in self._folders.values():
            make_folder(option, folder)
        return {column: _FrameFiles(folder, suffix) for column, (_, folder, suffix) in self._folders.items()}

    def write(
        self,
        detector: AnomalyDetector,
        found: InspectedImage,
        path: Path,
        targets: Mapping[str, Mapping[Path, Path]],
        format: Format,
    ) -> dict[str, Any]:
        """Write the files of one image.

        Args:
          detector: the detector that scored it.
          found: the image, its verdict and its pixels.
          path: path of the image.
          targets: the result of `prepare`.
          format: format of the rows. JSON lists regions, and CSV counts them.

        Returns:
          The cells of its row.

        Raises:
          CheckpointError: a file cannot be written.
        """
        cells: dict[str, Any] = {column: str(files[path]) for column, files in targets.items()}
        if self.heat_maps is not None:
            target = targets["heat_map"][path]
            title = target.relative_to(self.heat_maps).with_suffix("").as_posix()
            write_heat_map(detector, found, target, title)
        if self.masks is not None:
            write_region_mask(detector, found, targets["mask"][path], self.pixel_rate)
        if self.maps is not None:
            write_map(detector, found, targets["map"][path])
        if self.regions:
            regions = detector.regions(found, self.pixel_rate)
            listed = [{**region.box._asdict(), **region._asdict()} for region in regions]
            cells["regions"] = (
                [{name: value for name, value in region.items() if name != "box"} for region in listed]
                if format == "jsonl"
                else len(regions)
            )
        return cells
