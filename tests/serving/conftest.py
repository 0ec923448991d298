"""A detector that compiles in a moment, and parts to score with it."""

import contextlib
import http.client
import io
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxunreg as ju
from jaxunreg.features import WhiteningConfig, fit_whitening, wrap
from jaxunreg.scoring import FeatureScorer


def part(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 120, (height, width, 3), np.uint8)


def broken(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    """A part with a bright spot of 12x12 pixels at row 16 and column 8, of a colour of its own."""
    pixels = part(seed, height, width)
    pixels[16:28, 8:20] = 255 - seed % 50
    return pixels


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="session")
def detector() -> ju.AnomalyDetector:
    network = wrap(lambda weights, images: images[:, ::8, ::8], (), name="thinned")
    images = np.stack([part(k) for k in range(60)])
    seen = network(jnp.asarray(images[:30], jnp.float32) / 255)
    whitening = fit_whitening(seen, WhiteningConfig(per_place=False))
    scorer = FeatureScorer(network, whitening, (40, 56), channels=3)
    return ju.calibrate_detector(scorer, list(images[30:]), stride=8, false_positive_rate=0.05)


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served(NamedTuple):
    """A service that listens, and how to ask it."""

    service: Any
    address: str

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def form(*files: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    parts = [
        f'--limit\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode() + contents
        for name, contents in files
    ]
    return b"\r\n".join([*parts, b"--limit--\r\n"]), {"Content-Type": "multipart/form-data; boundary=limit"}


@pytest.fixture
def serve(detector) -> Iterator[Callable[..., Served]]:
    """Has a service listen at a free port until the test ends."""
    from jaxunreg.serving.http import make_app
    from jaxunreg.serving.server import Server, bound_socket
    from jaxunreg.serving.service import ScoringService

    with contextlib.ExitStack() as stack:

        def served(*, max_queue: int = 32, detector: ju.AnomalyDetector = detector, **options: Any) -> Served:
            service = ScoringService(detector, max_queue=max_queue)
            bound = stack.enter_context(bound_socket("127.0.0.1", 0))
            server = Server(make_app(service, **options), bound, patience=5.0)
            listening, found = threading.Event(), []

            def listens(address: str) -> None:
                found.append(address)
                listening.set()

            thread = threading.Thread(target=server.run, args=[listens])
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.stop)
            assert listening.wait(30)
            return Served(service, found[0])

        yield served
