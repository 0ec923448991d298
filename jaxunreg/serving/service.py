"""A detector that stays warm: images wait in a bounded queue, and one thread scores them. It knows nothing of HTTP."""

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np
from jaxtyping import Num

from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.drift import DriftTest
from jaxunreg.inspection.drift_reading import DriftReading
from jaxunreg.inspection.verdict import ImageVerdict, InspectedImage
from jaxunreg.serving.places import Places
from jaxunreg.serving.refusals import RequestError
from jaxunreg.serving.timings import Timings

# An image that waits longer than a batch takes could as well wait for the next batch.
_MOST_A_BATCH = 32


class ServiceClosedError(RequestError):
    """An image came after the service was closed."""

    status, reason = 503, "closed"


class Answer(NamedTuple):
    """The service's answer for one image.

    Attributes:
      found: the image with its verdict, and the terms of its pixels if they were asked for.
      waited: seconds in the queue.
      scored: seconds from the queue to the answer.
      drift: reading of the test of drift after this image, or None if the image does not count for it.
    """

    found: InspectedImage
    waited: float
    scored: float
    drift: DriftReading | None

    @property
    def verdict(self) -> ImageVerdict:
        """The verdict of the detector."""
        return self.found.verdict


class _Job(NamedTuple):
    image: np.ndarray
    pixels: bool
    counts: bool
    came: float
    future: "Future[Answer]"


class ScoringService:
    """A service that scores images of any sizes in one thread for all clients. It is a context manager.

    The thread takes all waiting images at a time, so that images that fit into one call of the network share it.

    Args:
      detector: what scores.
      max_queue: the most images that wait or are scored; see `places`.

    Attributes:
      detector: as above.
      places: take one of these before submitting an image.
      timings: seconds to score one image, without the queue; the mean if several are scored together.

    >>> import jax, jaxunreg as ju
    >>> from jaxunreg.features import WhiteningConfig, fit_whitening, wrap
    >>> from jaxunreg.scoring import FeatureScorer
    >>> network = wrap(lambda weights, images: images[:, ::8, ::8], (), name="thinned")
    >>> images = jax.random.uniform(jax.random.key(0), (30, 32, 48, 3))
    >>> whitening = fit_whitening(network(images[:20]), WhiteningConfig(per_place=False))
    >>> scorer = FeatureScorer(network, whitening, (32, 48), channels=3)
    >>> detector = ju.calibrate_detector(scorer, list(np.asarray(images[20:])), stride=8, false_positive_rate=0.2)
    >>> with ScoringService(detector) as service:
    ...     service.warm_up()
    ...     answer = service.submit(np.zeros((20, 24, 3), np.uint8), pixels=True).result()
    >>> answer.verdict.is_anomalous, answer.found.pixels.m.shape, answer.drift.parts, service.timings.count
    (True, (20, 24), 1, 1)
    """

    def __init__(self, detector: AnomalyDetector, *, max_queue: int = 32) -> None:
        self.detector = detector
        self.timings = Timings()
        self.places = Places(max_queue, self.timings)
        self._drift = DriftTest(detector.calibration, detector.false_positive_rate)
        self._drift_state = self._drift.init()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        # A daemon, because a call of the network cannot be interrupted when the process must end.
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)
        self._thread.start()

    def __enter__(self) -> "ScoringService":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm_up(self) -> None:
        """Score images of each kind once, so that nothing is compiled when the first image comes.

        It is not counted in `timings`.
        """
        shape = (*self.detector.fitting_size, self.detector.channels)
        for dtype in (np.uint8, np.float32):
            for pixels in (False, True):
                [found] = self.detector.inspect([np.zeros(shape, dtype)], pixels=pixels)
                if found.pixels is not None:
                    self.detector.heat_map(found.pixels, smooth=True)  # imports what smooths

    def drift(self) -> DriftReading:
        """Return whether the images so far still look like those of the calibration; see `DriftTest`."""
        return self._drift.reading(self._drift_state)

    def submit(
        self, image: Num[np.ndarray, "height width channels"], *, pixels: bool = False, counts: bool = True
    ) -> "Future[Answer]":
        """Submit an image for scoring.

        Args:
          image: uint8, or floating point in [0, 1], with the channels of the detector and at least as large as its
            smallest.
          pixels: whether to include the terms of the pixels, for heat maps and regions.
          counts: whether the image is from the line and counts for the test of drift.

        Returns:
          A future of the answer. If it is cancelled before its turn, the image is not scored. It raises the errors of
          `AnomalyDetector.inspect`.

        Raises:
          ServiceClosedError: the service was closed.
        """
        job = _Job(image, pixels, counts, time.perf_counter(), Future())
        with self._closing:
            if self._closed:
                raise ServiceClosedError("an image after the service was closed", "one before", "start it again")
            self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Answer all waiting images, and end. Closing again does nothing."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        for batch in self._batches():
            for dtype in sorted({job.image.dtype for job in batch}, key=str):
                for pixels in (False, True):
                    self._score([job for job in batch if (job.image.dtype, job.pixels) == (dtype, pixels)])

    def _batches(self) -> Iterator[list[_Job]]:
        """Yield all waiting images, again and again until the service closes."""
        while True:
            batch = [self._jobs.get()]
            while len(batch) < _MOST_A_BATCH and batch[-1] is not None:
                try:
                    batch.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            yield [job for job in batch if job is not None]
            if batch[-1] is None:
                return

    def _score(self, jobs: Sequence[_Job]) -> None:
        """Answer images of one dtype, each as soon as its scores are ready."""
        waiting = deque(job for job in jobs if job.future.set_running_or_notify_cancel())
        if not waiting:
            return
        together, began = len(waiting), time.perf_counter()
        images = [job.image for job in waiting]
        try:
            for found in self.detector.inspect(images, pixels=waiting[0].pixels):
                scored = time.perf_counter() - began
                job = waiting.popleft()
                drift = self._count(found.verdict.score) if job.counts else None
                job.future.set_result(Answer(found, began - job.came, scored, drift))
        except Exception as error:
            # The failure of one image must not fail the others.
            if together == 1:
                waiting[0].future.set_exception(error)
            else:
                for job in waiting:
                    self._score_again(job)
        else:
            for _ in range(together):
                self.timings.add((time.perf_counter() - began) / together)

    def _count(self, score: float) -> DriftReading:
        self._drift_state = self._drift.step(self._drift_state, score)
        return self.drift()

    def _score_again(self, job: _Job) -> None:
        again = job._replace(future=Future())
        self._score([again])
        error = again.future.exception()
        if error is None:
            job.future.set_result(again.future.result())
        else:
            job.future.set_exception(error)
