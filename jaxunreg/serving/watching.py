"""A watch over a folder: each image that arrives is scored once, even over restarts."""

import hashlib
import itertools
import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.errors import JaxRuntimeError

from jaxunreg.datasets.folders.from_bytes import image_from_bytes
from jaxunreg.datasets.folders.unusable import ImageFileError
from jaxunreg.errors import ArgumentError, ArgumentTypeError
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.drift import DriftState, DriftTest
from jaxunreg.inspection.drift_reading import DriftReading
from jaxunreg.inspection.regions import find_regions
from jaxunreg.inspection.verdict import InspectedImage
from jaxunreg.paths import read_file
from jaxunreg.scoring.until_error import UntilError
from jaxunreg.serving.arrivals import Arrival, Arrivals, Stamp, stamp_of
from jaxunreg.serving.calling import Caller, CallError
from jaxunreg.serving.journal import Journal
from jaxunreg.serving.pace import Pace
from jaxunreg.serving.rows import drift_row, region_rows, skipped_row, verdict_row
from jaxunreg.serving.sorting import Sorting
from jaxunreg.text import printable


class _Read(NamedTuple):
    """The data of an image that was read."""

    arrival: Arrival
    sha256: str


class FolderWatch:
    """A watch that scores the images that arrive in a folder.

    Args:
      detector: the detector.
      folder: folder in which images arrive.
      journal: the journal of the watch.
      settle: seconds without a change before a file is read.
      patience: seconds in which a file that cannot be decoded may still become whole. Then it is skipped.
      sorting: moves or links images, or None.
      caller: called for each anomaly and for a drift, or None.
      regions: whether the rows list the regions of the heat map.
      say: shows a line to the user.

    Attributes:
      counts: number of images with each verdict, including `skipped`.
      anomalies: number of anomalous images.
      pace: measures how long a part takes.

    Raises:
      ArgumentError: regions are requested, but the detector does not know their level.
    """

    def __init__(
        self,
        detector: AnomalyDetector,
        folder: Path,
        journal: Journal,
        *,
        settle: float = 1.0,
        patience: float = 30.0,
        sorting: Sorting | None = None,
        caller: Caller | None = None,
        regions: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.anomalies = 0
        self.pace = Pace()
        self._detector, self._folder, self._journal = detector, folder.absolute(), journal
        self._patience, self._sorting, self._caller, self._say = patience, sorting, caller, say
        self._level = detector.pixel_level() if regions else None
        self._arrivals = Arrivals(self._folder, settle=settle)
        self._drift = DriftTest(detector.calibration, detector.false_positive_rate)
        self._drift_state = self._kept_drift()
        self._told: set[str] = set()
        self._alone: set[Path] = set()

    def run(self, stop: threading.Event, *, interval: float = 0.5, once: bool = False) -> None:
        """Watch until it is stopped.

        Args:
          stop: ends it after the current images.
          interval: seconds from one look to the next.
          once: whether to end when all present images are scored.

        Raises:
          CheckpointError, OSError: the journal cannot be written.
        """
        for row in self._journal.unfinished():
            self._follow(row)
        self._tell_drift(self._folder)
        while not stop.is_set():
            arrivals = self._arrivals.look(self._is_done)
            self._tell_failures()
            self._score(arrivals, stop)
            if once and not arrivals and not self._arrivals.waiting:
                return
            stop.wait(interval)

    def drift(self) -> DriftReading:
        """Return what the test of drift says about all images so far, including those before the last start."""
        return self._drift.reading(self._drift_state)

    def _is_done(self, path: Path, stamp: Stamp) -> bool:
        known = self._journal.known(self._key(path))
        return known is not None and known.stamp == stamp

    def _score(self, arrivals: Sequence[Arrival], stop: threading.Event) -> None:
        """Score images together, or one by one if one of them could not be scored."""
        together = [arrival for arrival in arrivals if arrival.path not in self._alone]
        for some in (together, *([arrival] for arrival in arrivals if arrival.path in self._alone)):
            read: deque[_Read] = deque()
            skipped: deque[tuple[_Read, str]] = deque()
            images = self.pace.reading(self._images(some, read, skipped, stop))
            found = UntilError(self._inspected(images))
            for one in found:
                self._note(read.popleft(), self._row(one), one.verdict.score)
            for missing, reason in skipped:
                self._note(missing, skipped_row(reason), None)
            self._alone.difference_update(arrival.path for arrival in some)
            try:
                found.raise_error()
            except (ArgumentError, ArgumentTypeError, MemoryError, JaxRuntimeError) as error:
                if not read:
                    raise
                if len(some) == 1:
                    self._note(read[0], skipped_row(f"cannot be scored ({error})"), None)
                else:
                    self._alone.update(one.arrival.path for one in read)

    def _inspected(self, images: Iterator[np.ndarray]) -> Iterator[InspectedImage]:
        # A detector takes images of one dtype at a time.
        for _, alike in itertools.groupby(images, key=lambda image: image.dtype):
            yield from self.pace.showing(self._detector.inspect(alike, pixels=self._level is not None))

    def _row(self, found: InspectedImage) -> dict[str, Any]:
        row = verdict_row(found.verdict)
        if found.pixels is not None and self._level is not None:
            heat = self._detector.heat_map(found.pixels, smooth=True)
            row["regions"] = region_rows(find_regions(heat, self._level, found.counted))
        return row

    def _images(
        self,
        arrivals: Sequence[Arrival],
        read: deque[_Read],
        skipped: deque[tuple[_Read, str]],
        stop: threading.Event,
    ) -> Iterator[np.ndarray]:
        """Yield the images that are whole and new. Others come again with the next look."""
        for arrival in arrivals:
            if stop.is_set():
                return
            try:
                contents = read_file(arrival.path)
                if stamp_of(arrival.path) != arrival.stamp:
                    continue
                one = _Read(arrival, hashlib.sha256(contents).hexdigest())
                known = self._journal.known(self._key(arrival.path))
                if known is not None and known.sha256 == one.sha256:
                    self._journal.note_stamp(self._key(arrival.path), arrival.stamp)
                    continue
                image = image_from_bytes(
                    arrival.path,
                    contents,
                    channels=self._detector.channels,
                    min_size=self._detector.smallest_image,
                )
            except FileNotFoundError:
                continue
            except (OSError, ImageFileError) as error:
                # It may still become usable in its remaining time.
                if arrival.unchanged >= self._patience:
                    skipped.append(
                        (one, error.reason)
                        if isinstance(error, ImageFileError)
                        else (_Read(arrival, ""), f"cannot be opened ({error.strerror})")
                    )
            else:
                read.append(one)
                yield image

    def _note(self, one: _Read, found: dict[str, Any], score: float | None) -> None:
        path, facts = one.arrival.path, {}
        row = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "path": str(path), **found}
        row["sha256"] = one.sha256
        if score is not None:
            self._drift_state = self._drift.step(self._drift_state, score)
            facts["drift"] = json.dumps(self._drift.dump(self._drift_state))
            row["drift"] = drift_row(self.drift())
        number = self._journal.note(self._key(path), one.arrival.stamp, one.sha256, row, facts)
        self.counts[row["verdict"]] += 1
        self.anomalies += row.get("is_anomalous", False)
        self._follow({"number": number, **row})
        self._tell_drift(path)

    def _follow(self, row: dict[str, Any]) -> None:
        """Do what follows from a row: append it, sort the image, and call. After a crash, the rest is repeated."""
        number, path = row["number"], Path(row["path"])
        self._journal.append(number)
        if row.get("is_anomalous", True) or row["verdict"] == "review":
            self._say(f"{row['verdict']}: {path}{': ' + row['reason'] if 'reason' in row else ''}")
        path = self._sorted(path, row["verdict"], number)
        if row.get("is_anomalous"):
            self._call({"event": "anomaly", "file": str(path), **row}, path)
        self._journal.finish(number)

    def _sorted(self, path: Path, verdict: str, number: int) -> Path:
        if self._sorting is None or not path.is_relative_to(self._folder):
            return path
        known, stamp = self._journal.known(self._key(path)), stamp_of(path)
        if stamp is not None and known is not None and known.stamp != stamp:
            return path  # Another image has taken its name, and gets its own turn.
        try:
            return self._sorting.sort(path, verdict, number)
        except OSError as error:
            self._say(f"{path} could not be sorted: {error}")
            return path

    def _call(self, found: dict[str, Any], path: Path) -> None:
        if self._caller is not None:
            try:
                self._caller(found, str(path))
            except CallError as error:
                self._say(f"not called: {error}")

    def _tell_drift(self, path: Path) -> None:
        """Report a drift, once for a calibration."""
        found, calibration = self.drift(), str(self._drift.dump(self._drift_state)["calibration"])
        if found.alarm and self._journal.fact("drift told") != calibration:
            self._say(f"alarm: {found.sentence}")
            self._call({"event": "drift", "sentence": found.sentence, **drift_row(found)}, path)
            self._journal.note_fact("drift told", calibration)

    def _key(self, path: Path) -> str:
        return printable(path.relative_to(self._folder).as_posix())

    def _tell_failures(self) -> None:
        failing = {str(failure) for failure in self._arrivals.failures}
        for text in sorted(failing - self._told):
            self._say(f"{text}; it is tried again")
        self._told = failing

    def _kept_drift(self) -> DriftState:
        kept = self._journal.fact("drift")
        if kept is None:
            return self._drift.init()
        try:
            return self._drift.restore(json.loads(kept))
        except ArgumentError:
            self._say("the model has a new threshold, so the test of drift begins again")
            return self._drift.init()
