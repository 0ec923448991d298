"""The load test of the service, for a second: it counts right answers, and would find lost, swapped and wrong ones."""

import contextlib

import pytest

import jaxunreg as ju
from benchmarks import serving
from tests.serving.conftest import broken, encoded, part

pytestmark = pytest.mark.slow


@pytest.fixture
def saturated(serve, detector, tmp_path, monkeypatch):
    """Runs the load test against a service in this process."""
    parts = [(broken if k % 2 else part)(k) for k in range(12)]
    scores = [verdict.score for verdict in detector.scores(parts)]

    @contextlib.contextmanager
    def here(_, places):
        yield serve(max_queue=places).address.removeprefix("http://")

    monkeypatch.setattr(serving, "serving", here)
    return lambda clients, places: serving.saturate(tmp_path, [*map(encoded, parts)], scores, clients, places, 0.7)


def test_no_answer_is_lost_or_swapped_at_saturation(saturated):
    found = saturated(6, 32)
    assert found["answers"] > 10
    assert (found["wrong"], found["lost"], found["refused"]) == (0, 0, 0)
    assert found["milliseconds_50"] <= found["milliseconds_95"] <= found["milliseconds_99"]
    assert found["images_a_second"] == pytest.approx(found["answers"] / found["seconds"])


def test_more_clients_than_places_are_refused_and_come_again(saturated):
    found = saturated(8, 2)
    assert found["refused"] > 0
    assert found["answers"] > 0
    assert (found["wrong"], found["lost"]) == (0, 0)


def test_it_finds_answers_to_another_image(saturated, monkeypatch):
    inspect = ju.AnomalyDetector.inspect

    def swapped(self, images, **options):
        return iter(list(inspect(self, images, **options))[::-1])

    monkeypatch.setattr(ju.AnomalyDetector, "inspect", swapped)
    assert saturated(6, 32)["wrong"] > 0
