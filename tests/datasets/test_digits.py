"""The choice of the digits: SVHN or an error, or the embedded ones with a warning, and the messages."""

import functools
import hashlib
import http.server
import inspect
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from jaxunreg.datasets.digits import load
from jaxunreg.datasets.digits.dataset import LabeledImages
from jaxunreg.datasets.digits.load import DatasetFallbackWarning, load_digits
from jaxunreg.datasets.digits.svhn import URL_VARIABLE, SvhnUnavailableError
from jaxunreg.errors import MissingPackageError

REAL = Path(os.environ.get("JAXUNREG_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "svhn"
TRAIN, TEST = 60, 30


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reaches the net or the user's own cache by accident."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    monkeypatch.setenv(URL_VARIABLE, f"http://127.0.0.1:{port}/")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local copy in which every image says which one it is: all of its bytes are its index."""
    folder = tmp_path_factory.mktemp("svhn")
    for name, n in (("train", TRAIN), ("test", TEST)):
        images = np.broadcast_to(np.arange(n, dtype=np.uint8).reshape(-1, 1, 1, 1), (n, 32, 32, 3))
        y = np.where(np.arange(n) % 10 == 0, 10, np.arange(n) % 10).astype(np.uint8).reshape(-1, 1)
        scipy.io.savemat(folder / f"{name}_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": y})
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(pair: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(pair))
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/"
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def checksums(pair: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in pair.iterdir()}


def indices(images: np.ndarray) -> list[int]:
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


# --- which data set --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["auto", "svhn"])
def test_a_local_copy_is_taken(pair, dataset):
    data = load_digits(dataset, data_dir=pair)
    assert (data.name, data.requested, data.fell_back) == ("SVHN (60-image subset)", dataset, False)
    assert data.fallback_reason is None
    assert indices(data.train.images) == list(range(TRAIN))
    np.testing.assert_array_equal(data.test.labels, np.arange(TEST) % 10)


@pytest.mark.parametrize("dataset", ["auto", "svhn"])
def test_a_server_is_taken_and_then_what_it_gave(server, checksums, dataset):
    data = load_digits(dataset, url=server, checksums=checksums, progress=False)
    assert indices(data.test.images) == list(range(TEST))
    assert (data.requested, data.fell_back) == (dataset, False)
    offline = load_digits("auto", checksums=checksums, progress=False)  # the default URL is a closed port
    assert offline.fingerprint == data.fingerprint
    assert not offline.fell_back


def test_auto_falls_back_with_a_warning_and_its_reason():
    with pytest.warns(DatasetFallbackWarning, match=r"SVHN IS NOT USED.* refused") as caught:
        data = load_digits("auto", train_size=12, test_size=7, seed=3, progress=False)
    assert len(caught) == 1
    assert (data.name, data.requested, data.fell_back) == ("synth_digits", "auto", True)
    assert "refused" in data.fallback_reason
    assert data.fallback_reason in str(caught[0].message)
    asked = load_digits("synth_digits", train_size=12, test_size=7, seed=3)
    assert asked.fingerprint == data.fingerprint
    assert (asked.requested, asked.fell_back, asked.fallback_reason) == ("synth_digits", False, None)


def test_a_server_without_the_files_is_not_svhn(server):
    with pytest.warns(DatasetFallbackWarning, match="HTTP Error 404"):
        data = load_digits("auto", url=f"{server}elsewhere/", train_size=1, test_size=1, progress=False)
    assert data.fell_back


@pytest.mark.parametrize("package", ["tensorflow_datasets", "array_record", "importlib_resources"])
def test_a_missing_package_of_the_extra_is_named(monkeypatch, pair, package):
    for name in [name for name in sys.modules if name.startswith("jaxunreg.datasets.digits.svhn.")]:
        if name.rpartition(".")[2] in ("builder", "prepared"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    says = rf"no package {package}.*pip install 'jaxunreg\[svhn\]'"
    with pytest.raises(MissingPackageError, match=says):
        load_digits("svhn", progress=False)
    with pytest.warns(DatasetFallbackWarning, match=f"SVHN IS NOT USED.*{says}"):
        data = load_digits("auto", train_size=1, test_size=1, progress=False)
    assert (data.name, data.fell_back) == ("synth_digits", True)
    assert f"no package {package}" in data.fallback_reason
    # A local copy needs none of them.
    assert load_digits("svhn", data_dir=pair).name == "SVHN (60-image subset)"


def test_datasets_are_imported_without_the_packages_of_the_extra():
    program = """
import sys
import jaxunreg.datasets.digits, jaxunreg.datasets.folders
print("tensorflow_datasets" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr


def test_svhn_never_falls_back(monkeypatch):
    monkeypatch.setattr("jaxunreg.datasets.digits.svhn.download._SECONDS_BETWEEN_ATTEMPTS", 0.01)
    with pytest.raises(SvhnUnavailableError, match="refused"):
        load_digits("svhn", progress=False)


@pytest.mark.parametrize("dataset", ["auto", "svhn"])
def test_a_local_copy_that_is_not_there_is_always_an_error(tmp_path, dataset):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FileNotFoundError, match="holds neither pair"):
            load_digits(dataset, data_dir=tmp_path)
        for name in ("train.npz", "test.npz"):
            (tmp_path / name).write_bytes(b"cut short")
        with pytest.raises(ValueError, match="cannot be read"):
            load_digits(dataset, data_dir=tmp_path)


def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(load, "_ANSWER_WITHIN_SECONDS", 0.3)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/"
        began = time.monotonic()
        with pytest.warns(DatasetFallbackWarning, match=r"no answer within 0\.3 s|timed out"):
            load_digits("auto", url=url, train_size=1, test_size=1, progress=False)
        assert time.monotonic() - began < 5


def test_a_name_that_cannot_be_looked_up_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(load, "_ANSWER_WITHIN_SECONDS", 0.2)
    released = threading.Event()

    def stuck(*_: object, **__: object) -> None:
        released.wait(30)
        raise OSError("released")

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    try:
        with pytest.warns(DatasetFallbackWarning, match=r"no answer within 0\.2 s"):
            load_digits("auto", url="http://example.invalid/", train_size=1, test_size=1, progress=False)
    finally:
        released.set()


def test_wrong_bytes_from_the_server_fall_back_and_leave_nothing(server, checksums, tmp_path):
    checksums["test_32x32.mat"] = "0" * 64
    with pytest.warns(DatasetFallbackWarning, match="twice in a row"):
        data = load_digits("auto", url=server, checksums=checksums, train_size=1, test_size=1, progress=False)
    assert data.fell_back
    files = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert files == ["train_32x32.mat"]  # complete and verified


# --- sizes and seeds -------------------------------------------------------------------------------------


def test_a_subset_is_random_seeded_ordered_and_named(pair):
    data = load_digits("svhn", data_dir=pair, train_size=20, test_size=10, seed=4)
    chosen = indices(data.train.images)
    assert (len(set(chosen)), len(data.test.images)) == (20, 10)
    assert chosen == sorted(chosen)
    assert max(chosen) > 20  # not the first ones
    np.testing.assert_array_equal(data.train.labels, np.array(chosen) % 10)
    np.testing.assert_array_equal(data.test.labels, np.array(indices(data.test.images)) % 10)
    assert data.name == "SVHN (20-image subset)"
    assert "20 training and 10 test images" in data.source
    assert "seed 4" in data.source
    same = load_digits("svhn", data_dir=pair, train_size=20, test_size=10, seed=4)
    other = load_digits("svhn", data_dir=pair, train_size=20, test_size=10, seed=5)
    assert same.fingerprint == data.fingerprint
    assert indices(other.train.images) != chosen


def test_every_image_is_equally_likely_in_a_subset(pair):
    counts = np.zeros(TRAIN)
    repeats = 200
    for seed in range(repeats):
        counts[indices(load_digits("svhn", data_dir=pair, train_size=20, seed=seed).train.images)] += 1
    sigma = np.sqrt(repeats * (1 / 3) * (2 / 3))
    assert counts.sum() == 20 * repeats
    assert np.abs(counts - repeats / 3).max() < 4.5 * sigma


def test_all_of_svhn_is_the_default_and_more_is_an_error(pair):
    everything = load_digits("svhn", data_dir=pair)
    exactly = load_digits("svhn", data_dir=pair, train_size=TRAIN, test_size=TEST)
    assert exactly.fingerprint == everything.fingerprint
    assert exactly.source == everything.source
    with pytest.raises(ValueError, match="got train_size=61; expected at most the 60 train images that this SVHN has"):
        load_digits("svhn", data_dir=pair, train_size=61)
    with pytest.raises(ValueError, match="got test_size=31; expected at most the 30 test images"):
        load_digits("auto", data_dir=pair, test_size=31)


def test_embedded_splits_share_no_image_and_do_not_depend_on_each_others_size():
    small = load_digits("synth_digits", train_size=40, test_size=40)
    large = load_digits("synth_digits", train_size=60, test_size=40)
    np.testing.assert_array_equal(small.test.images, large.test.images)
    np.testing.assert_array_equal(small.train.images, large.train.images[:40])
    kinds = {image.tobytes() for split in (small.train, small.test) for image in split.images}
    assert len(kinds) == 80
    assert small.fingerprint != load_digits("synth_digits", train_size=40, test_size=40, seed=1).fingerprint


def test_default_sizes_of_the_embedded_digits(monkeypatch):
    asked = []

    def recorded(n: int, *, seed: int, start: int = 0) -> LabeledImages:
        asked.append((n, start))
        return LabeledImages(np.zeros((n, 32, 32, 3), np.uint8), np.zeros(n, np.int64))

    monkeypatch.setattr(load, "synth_digits", recorded)
    data = load_digits("synth_digits")
    assert (len(data.train.images), len(data.test.images)) == (20_000, 2_000)
    (n_train, train_start), (_, test_start) = asked
    assert train_start + n_train <= test_start


@pytest.mark.skipif(not REAL.is_dir(), reason="the SVHN subset is not here")
def test_the_real_subset():
    data = load_digits("auto", data_dir=REAL, train_size=24_776, test_size=1_000)
    assert data.name == "SVHN (24.8k subset)"
    assert data.test.images.shape == (1_000, 32, 32, 3)
    # The classes keep their shares: the digit 1 is 19.7 % of the test images.
    share, expected = (data.test.labels == 1).mean(), 949 / 4809
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 1000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_size": 0}, "got train_size=0; expected at least 1"),
        ({"test_size": -5}, "got test_size=-5; expected at least 1"),
        ({"seed": -1}, "got seed=-1; expected at least 0"),
        ({"data_dir": "somewhere"}, "got data_dir='somewhere' with .*since the embedded digits are drawn"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_digits("synth_digits", **arguments)


def test_malformed_arguments_are_errors_under_auto():
    with pytest.raises(ValueError, match="got dataset='mnist'; expected 'auto', 'svhn' or 'synth_digits'"):
        inspect.unwrap(load_digits)("mnist")  # below the type checker of the tests
    with pytest.raises(ValueError, match="expected http:// or https://"):
        load_digits("auto", url="example.org/svhn")
    with pytest.raises(ValueError, match="got checksums with the keys"):
        load_digits("auto", checksums={"train.mat": "0" * 64})
