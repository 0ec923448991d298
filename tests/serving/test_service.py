"""The service: the detector's own answers in any order of asking, a bounded queue, and an end that answers all."""

import threading
from concurrent.futures import CancelledError, Future
from types import SimpleNamespace

import numpy as np
import pytest

from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.serving.places import Places, QueueFullError
from jaxunreg.serving.refusals import TooLargeError
from jaxunreg.serving.service import ScoringService, ServiceClosedError
from jaxunreg.serving.timings import Timings
from tests.serving.conftest import broken, part

SIZES = [(40, 56), (33, 40), (64, 33), (40, 57)]


@pytest.fixture
def gate(monkeypatch):
    """Holds every pass of a detector until it is opened, and counts the images of each."""
    reached, let, passes, inspect = threading.Event(), threading.Event(), [], AnomalyDetector.inspect

    def later(self, images, **options):
        reached.set()
        assert let.wait(30)
        passes.append(len(images))
        return inspect(self, images, **options)

    monkeypatch.setattr(AnomalyDetector, "inspect", later)
    return SimpleNamespace(reached=reached, open=let.set, passes=passes)


def test_each_gets_the_answer_to_its_own_image(detector):
    images = [(broken if k % 3 else part)(k, *SIZES[k % 4]) for k in range(40)]
    images += [image.astype(np.float32) / np.float32(255) for image in images[:10]]
    expected = [next(detector.inspect([image], pixels=True)) for image in images]
    answers: dict[int, Future] = {}
    with ScoringService(detector) as service:
        service.warm_up()

        def ask(first: int) -> None:
            for k in range(first, len(images), 4):
                answers[k] = service.submit(images[k], pixels=k % 2 == 0)

        clients = [threading.Thread(target=ask, args=[first]) for first in range(4)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert len({one.verdict.score for one in expected[:40]}) == 40
    for k, one in enumerate(expected):
        answer = answers[k].result(timeout=0)
        assert answer.verdict.score == pytest.approx(one.verdict.score, rel=1e-5)
        assert answer.verdict[1:5] == one.verdict[1:5]
        assert answer.waited >= 0 < answer.scored
        assert (answer.found.pixels is not None) == (k % 2 == 0)
        if answer.found.pixels is not None:
            np.testing.assert_allclose(answer.found.pixels.m, one.pixels.m, rtol=1e-5)
            np.testing.assert_array_equal(answer.found.image, images[k])


def test_nothing_is_compiled_after_the_warm_up(detector, compiled):
    with ScoringService(detector) as service:
        service.warm_up()
        before = len(compiled)
        for k, size in enumerate(SIZES):
            for image in (part(k, *size), part(k, *size).astype(np.float32) / np.float32(255)):
                for pixels in (True, False):
                    service.submit(image, pixels=pixels).result()
        assert len(compiled) == before > 0
        assert service.timings.count == 16


def test_an_image_that_fails_takes_no_other_with_it(detector, gate):
    service = ScoringService(detector)
    good = [service.submit(part(k)) for k in range(3)]
    bad = service.submit(np.zeros((40, 56, 1), np.uint8))
    good += [service.submit(part(k)) for k in range(3, 6)]
    gate.open()
    service.close()
    assert [answer.result().verdict.score for answer in good] == pytest.approx(
        [verdict.score for verdict in detector.scores([part(k) for k in range(6)])], rel=1e-5
    )
    with pytest.raises(ValueError, match="shape"):
        bad.result()


def test_what_waits_shares_a_pass_and_what_is_cancelled_is_left_out(detector, gate):
    service = ScoringService(detector)
    first = service.submit(part(0))
    assert gate.reached.wait(30)
    waiting = [service.submit(part(k)) for k in range(1, 6)]
    assert waiting[1].cancel()
    gate.open()
    service.close()
    assert gate.passes == [1, 4]
    assert first.done()
    assert all(answer.result().verdict.score > 0 for k, answer in enumerate(waiting) if k != 1)
    with pytest.raises(CancelledError):
        waiting[1].result()


def test_a_closed_service_takes_nothing_more(detector):
    service = ScoringService(detector)
    last = service.submit(part(0))
    service.close()
    service.close()
    assert last.done()
    with pytest.raises(ServiceClosedError, match="after the service was closed"):
        service.submit(part(0))


def test_places_are_bounded_and_given_back():
    timings = Timings()
    places = Places(3, timings)
    timings.add(2.5)
    with places.taking() as some:
        some.take(1)
        with pytest.raises(TooLargeError, match="4 images in one request"):
            some.take(2)
        with places.taking():
            assert places.taken == 3
            with pytest.raises(QueueFullError) as refused, places.taking():
                pass
            assert refused.value.retry_after == 8  # 3 images of 2.5 s, rounded up
        assert places.taken == 2
    assert places.taken == 0


def test_places_hold_among_many_threads():
    places, refused, highest = Places(5, Timings()), [], []

    def come_and_go() -> None:
        for _ in range(300):
            try:
                with places.taking():
                    highest.append(places.taken)
            except QueueFullError:
                refused.append(1)

    threads = [threading.Thread(target=come_and_go) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert places.taken == 0
    assert max(highest) <= 5
    assert len(highest) + len(refused) == 3600


def test_the_test_of_drift_sees_what_counts_in_the_order_of_the_line(detector):
    from jaxunreg.inspection.drift import DriftTest

    images = [part(k) for k in range(12)]
    with ScoringService(detector) as service:
        answers = [service.submit(image, counts=k % 3 > 0).result() for k, image in enumerate(images)]
    test = DriftTest(detector.calibration, detector.false_positive_rate)
    state = test.init()
    for k, answer in enumerate(answers):
        if k % 3:
            state = test.step(state, answer.verdict.score)
            assert answer.drift == test.reading(state)
        else:
            assert answer.drift is None
    assert service.drift().parts == 8
