"""SVHN: data from a server on loopback or from a folder arrive bit for bit, and broken data are never used."""

import contextlib
import errno
import hashlib
import http.server
import io
import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds

from jaxunreg.datasets.digits.svhn import URL_VARIABLE, SvhnUnavailableError, download, load_svhn
from jaxunreg.datasets.digits.svhn.builder import SvhnCropped
from jaxunreg.datasets.digits.svhn.download import fetch
from jaxunreg.datasets.digits.svhn.official import OFFICIAL_FILES, OFFICIAL_URL

REAL = Path(os.environ.get("JAXUNREG_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "svhn"
NAMES = ("train_32x32.mat", "test_32x32.mat")


def random_digits(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 32, 32, 3), np.uint8), np.arange(n) % 10


def mat_bytes(images: np.ndarray, labels: np.ndarray, **options: bool) -> bytes:
    """A file of the official format: images along the last axis, the digit 0 labelled with 10."""
    buffer = io.BytesIO()
    y = np.where(labels == 0, 10, labels).astype(np.uint8).reshape(-1, 1)
    scipy.io.savemat(buffer, {"X": images.transpose(1, 2, 3, 0), "y": y}, **options)
    return buffer.getvalue()


class Mirror:
    """A server on loopback, whose `script` says what to do with the next requests; afterwards all goes well.

    A step is "ok", "no range", "shifted", "wrong", "endless", "silent", a status code, or a number of bytes
    after which the connection ends or stalls: "cut 1000", "stall 1000".
    """

    def __init__(self, files: dict[str, bytes]):
        self.files, self.script, self.requests = files, [], []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                name, asked = self.path.rsplit("/", 1)[1], self.headers.get("Range")
                mirror.requests.append((name, asked))
                step = mirror.script.pop(0) if mirror.script else "ok"
                if step == "silent":
                    time.sleep(1.5)
                    return
                if step.isdigit() or name not in mirror.files:
                    self.send_error(int(step) if step.isdigit() else 404)
                    return
                body, start = mirror.files[name], 0
                if asked and step != "no range":
                    start = int(re.fullmatch(r"bytes=(\d+)-\d*", asked)[1])
                    if start >= len(body):
                        self.send_error(416)
                        return
                    self.send_response(206)
                    first = start + 1 if step == "shifted" else start
                    self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
                else:
                    self.send_response(200)
                if step == "wrong":
                    body = body[:-1] + bytes([body[-1] ^ 1])
                if step == "endless":
                    self.end_headers()
                    with contextlib.suppress(OSError):
                        while True:
                            self.wfile.write(bytes(1 << 16))
                    return
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                broken = re.fullmatch(r"(cut|stall) (\d+)", step)
                self.wfile.write(body[start : start + int(broken[2]) if broken else len(body)])
                if broken and broken[1] == "stall":
                    time.sleep(1.5)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/housenumbers/"
        self.checksums = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}

    def asked(self, name: str) -> list[str | None]:
        return [header for requested, header in self.requests if requested == name]


@contextlib.contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Mirror]:
    mirror = Mirror(files)
    thread = threading.Thread(target=mirror.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield mirror
    finally:
        mirror.server.shutdown()
        mirror.server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def quick_and_local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "_SECONDS_BETWEEN_ATTEMPTS", 0.01)


@pytest.fixture(scope="module")
def digits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {"train": random_digits(37, seed=1), "test": random_digits(11, seed=2)}


@pytest.fixture
def mirror(digits: dict[str, tuple[np.ndarray, np.ndarray]]) -> Iterator[Mirror]:
    files = {name: mat_bytes(*digits[split]) for name, split in zip(NAMES, ("train", "test"), strict=True)}
    with serving(files) as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# --- through TFDS ----------------------------------------------------------------------------------------


def test_the_pinned_checksums_are_those_of_tfds() -> None:
    table = Path(tfds.__file__).parent / "datasets" / "svhn_cropped" / "checksums.tsv"
    theirs = dict(line.split("\t", 1) for line in table.read_text().splitlines())
    for file in OFFICIAL_FILES.values():
        size, sha256, name = theirs[OFFICIAL_URL + file.name].split("\t")
        assert (file.size, file.sha256, file.name) == (int(size), sha256, name)


def test_fetched_images_are_the_served_ones_and_are_prepared_once(mirror, digits, cache, monkeypatch, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    data = load_svhn(cache_dir=cache, url=mirror.url, checksums=mirror.checksums, progress=False)
    for split, got in (("train", data.train), ("test", data.test)):
        images, labels = digits[split]
        np.testing.assert_array_equal(got.images, images)
        np.testing.assert_array_equal(got.labels, labels)
        assert (got.images.dtype, got.labels.dtype) == (np.uint8, np.int64)
    assert data.name == "SVHN (37-image subset)"
    assert mirror.url in data.source
    assert not data.fell_back
    assert mirror.requests == [("train_32x32.mat", None), ("test_32x32.mat", None)]
    assert not [path for path in below(cache) if "incomplete" in path or path.endswith(".part")]
    assert below(temporary) == []
    again = load_svhn(
        cache_dir=cache,
        url=f"http://127.0.0.1:{closed_port()}/",
        checksums=mirror.checksums,
        download=False,
        progress=False,
    )
    assert again.fingerprint == data.fingerprint
    assert len(mirror.requests) == 2
    with pytest.raises(SvhnUnavailableError, match="not prepared"):  # a mirror's data do not pass for SVHN
        load_svhn(cache_dir=cache, download=False)


def test_the_builder_is_an_ordinary_tfds_builder(mirror, digits, cache):
    builder = tfds.builder(
        "svhn_cropped_jaxunreg",
        data_dir=cache,
        url=mirror.url,
        checksums=mirror.checksums,
        progress=False,
    )
    assert isinstance(builder, SvhnCropped)
    builder.download_and_prepare()
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {
        "train": 37,
        "test": 11,
    }
    source = tfds.builder("svhn_cropped_jaxunreg", data_dir=cache).as_data_source(split="test")
    np.testing.assert_array_equal(source[7]["image"], digits["test"][0][7])
    assert source[7]["label"] == 7


def test_tensorflow_is_never_imported(mirror, cache):
    program = f"""
import builtins, sys
from jaxunreg.datasets.digits.svhn import load_svhn

ordinary, before = builtins.__import__, "tensorflow" in sys.modules

def watched(name, *arguments, **options):
    if name.split(".")[0] == "tensorflow":
        raise AssertionError("tensorflow is imported")
    return ordinary(name, *arguments, **options)

builtins.__import__ = watched
data = load_svhn(cache_dir={str(cache)!r}, url={mirror.url!r}, checksums={mirror.checksums!r})
assert ("tensorflow" in sys.modules) == before
print(data.fingerprint)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    here = load_svhn(cache_dir=cache, checksums=mirror.checksums, download=False, progress=False)
    assert done.stdout.strip() == here.fingerprint  # and nothing else on standard output


def test_environment_variables_are_the_defaults(mirror, cache, monkeypatch):
    monkeypatch.setenv(URL_VARIABLE, mirror.url.rstrip("/"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(cache))
    load_svhn(checksums=mirror.checksums, progress=False)
    assert len(mirror.requests) == 2
    assert any(path.endswith("train.array_record-00000-of-00001") for path in below(cache))


def test_processes_that_start_together_fetch_once(mirror, cache):
    found = []

    def load() -> None:
        found.append(load_svhn(cache_dir=cache, url=mirror.url, checksums=mirror.checksums, progress=False))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({data.fingerprint for data in found}) == 1
    assert len(found) == 3
    assert len(mirror.requests) == 2


def test_what_a_killed_preparation_left_is_removed(mirror, cache):
    load_svhn(cache_dir=cache, url=mirror.url, checksums=mirror.checksums, progress=False)
    (prepared,) = cache.rglob("1.0.0")
    leftover = prepared.parent / "incomplete.A1B2C3_1.0.0"
    prepared.rename(leftover)
    load_svhn(cache_dir=cache, url=mirror.url, checksums=mirror.checksums, progress=False)
    assert not leftover.exists()
    assert len(mirror.requests) == 2  # the downloads were complete


def test_damaged_prepared_data_is_an_error(mirror, cache):
    load_svhn(cache_dir=cache, url=mirror.url, checksums=mirror.checksums, progress=False)
    (shard,) = cache.rglob("*train.array_record*")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(SvhnUnavailableError, match=r"cannot be read .* remove that folder and run again"):
        load_svhn(cache_dir=cache, checksums=mirror.checksums, progress=False)


@pytest.mark.parametrize("damage", ["cut", "shape"])
def test_a_mirror_of_something_else_prepares_nothing(mirror, cache, damage):
    good = mirror.files["test_32x32.mat"]
    bad = good[: len(good) // 2] if damage == "cut" else mat_bytes(np.zeros((4, 28, 28, 3), np.uint8), np.arange(4))
    with serving({**mirror.files, "test_32x32.mat": bad}) as other:
        expected = "cut short or of another format" if damage == "cut" else r"\(n, 32, 32, 3\)"
        with pytest.raises(SvhnUnavailableError, match=expected):
            load_svhn(cache_dir=cache, url=other.url, checksums=other.checksums, progress=False)
    assert not list(cache.rglob("*incomplete*"))
    assert not list(cache.rglob("dataset_info.json"))


def test_another_file_is_told_by_its_length_before_it_is_fetched(mirror, cache):
    with pytest.raises(SvhnUnavailableError, match=r"bytes; expected the official file of 182,040,794 bytes"):
        load_svhn(cache_dir=cache, url=mirror.url, progress=False)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "ftp://example.org/"}, "expected http:// or https://"),
        ({"checksums": {"train_32x32.mat": "0" * 64}}, "expected .*test_32x32.mat"),
        ({"checksums": dict.fromkeys(NAMES, "nonsense")}, "expected .*64"),
    ],
)
def test_malformed_arguments(cache, arguments, message):
    with pytest.raises(ValueError, match=message):
        load_svhn(cache_dir=cache, progress=False, **arguments)
    assert not cache.exists()


# --- broken transfers ------------------------------------------------------------------------------------


@pytest.fixture
def body() -> bytes:
    return np.random.default_rng(3).bytes(300_000)


@pytest.fixture
def single(body: bytes) -> Iterator[Mirror]:
    with serving({"file": body}) as running:
        yield running


def get(mirror: Mirror, folder: Path, **options: object) -> bytes:
    arguments = {
        "sha256": mirror.checksums["file"],
        "timeout": 0.5,
        "attempts": 3,
        "progress": False,
        **options,
    }
    return fetch(mirror.url + "file", folder / "file", **arguments).read_bytes()


@pytest.mark.parametrize("size", [None, 300_000])
def test_a_broken_transfer_goes_on_where_it_broke(single, body, tmp_path, size):
    single.script = ["cut 100000", "cut 50000"]
    assert get(single, tmp_path, size=size) == body
    assert single.asked("file") == [None, "bytes=100000-", "bytes=150000-"]
    assert os.listdir(tmp_path) == ["file"]


def test_a_transfer_that_stalls_goes_on_in_a_new_connection(single, body, tmp_path):
    single.script = ["stall 100000"]
    assert get(single, tmp_path, timeout=0.2) == body
    assert single.asked("file") == [None, "bytes=100000-"]


def test_bytes_of_another_place_are_not_appended(single, body, tmp_path):
    single.script = ["cut 100000", "shifted"]
    assert get(single, tmp_path) == body
    assert single.asked("file") == [None, "bytes=100000-", "bytes=100000-"]


def test_attempts_that_get_on_do_not_use_up_the_attempts(tmp_path):
    body = np.random.default_rng(4).bytes(9 << 20)
    with serving({"file": body}) as mirror:
        mirror.script = [f"cut {2 << 20}"] * 4
        assert get(mirror, tmp_path, attempts=2) == body
    assert len(mirror.requests) == 5


def test_the_next_call_goes_on_as_well(single, body, tmp_path):
    single.script = ["cut 100000"]
    with pytest.raises(SvhnUnavailableError, match=r"closed after 100,000 of 300,000 bytes .* 100,000 bytes are kept"):
        get(single, tmp_path, attempts=1)
    assert os.listdir(tmp_path) == ["file.part"]  # under its own name it would be used
    assert get(single, tmp_path) == body
    assert single.asked("file") == [None, "bytes=100000-"]


def test_a_server_without_range_makes_it_begin_again(single, body, tmp_path):
    single.script = ["cut 100000", "no range"]
    assert get(single, tmp_path) == body


def test_wrong_bytes_are_begun_again_once(single, body, tmp_path):
    single.script = ["wrong"]
    assert get(single, tmp_path) == body
    assert single.asked("file") == [None, None]


def test_wrong_bytes_are_never_used(single, tmp_path):
    single.script = ["wrong", "wrong"]
    with pytest.raises(SvhnUnavailableError, match=f"twice in a row; expected {single.checksums['file']}"):
        get(single, tmp_path)
    assert os.listdir(tmp_path) == []
    assert len(single.requests) == 2


@pytest.mark.parametrize("length", [1000, 300_000, 400_000])
def test_a_part_of_another_file_is_begun_again(single, body, tmp_path, length):
    (tmp_path / "file.part").write_bytes(bytes(length))
    assert get(single, tmp_path, size=len(body)) == body


def test_a_damaged_download_is_fetched_again(single, body, tmp_path):
    get(single, tmp_path)
    (tmp_path / "file").write_bytes(body[:-1])
    assert get(single, tmp_path) == body
    assert get(single, tmp_path) == body
    assert len(single.requests) == 2


def test_a_part_longer_than_the_file_is_begun_again(single, body, tmp_path):
    (tmp_path / "file.part").write_bytes(bytes(400_000))
    assert get(single, tmp_path) == body
    assert single.asked("file") == ["bytes=400000-", None]  # the first was answered with 416


def test_a_body_without_end_is_stopped(single, tmp_path):
    single.script = ["endless", "endless"]
    with pytest.raises(SvhnUnavailableError, match="twice in a row"):
        get(single, tmp_path, size=300_000)
    assert os.listdir(tmp_path) == []


def test_busy_servers_are_asked_again_but_a_missing_file_is_not(single, body, tmp_path):
    single.script = ["503", "429"]
    assert get(single, tmp_path / "..") == body
    single.requests.clear()
    single.script = ["404", "ok"]
    with pytest.raises(SvhnUnavailableError, match=r"HTTP 404 .*JAXUNREG_SVHN_URL"):
        get(single, tmp_path)
    assert len(single.requests) == 1
    assert os.listdir(tmp_path) == []


def test_attempts_and_waiting_are_bounded(single, tmp_path):
    single.script = ["silent"] * 2
    began = time.monotonic()
    with pytest.raises(SvhnUnavailableError, match=r"timed out \(attempt 2 of 2, time-out 0.2 s\)"):
        get(single, tmp_path, attempts=2, timeout=0.2)
    assert time.monotonic() - began < 1.4  # less than one answer takes
    assert len(single.requests) == 2


def test_no_network(cache):
    url = f"http://127.0.0.1:{closed_port()}/"
    with pytest.raises(SvhnUnavailableError, match=r"[Rr]efused.* data_dir"):
        load_svhn(cache_dir=cache, url=url, attempts=2, progress=False)
    assert not cache.exists()
    with pytest.raises(SvhnUnavailableError, match=r"[Rr]efused.* data_dir"):
        load_svhn(cache_dir=cache, url=url, answer_within=5.0, progress=False)


# --- disks -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """The operating system itself refuses to write more, whoever writes, C++ included."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_during_the_download_leaves_nothing(mirror, cache):
    with (
        no_file_longer_than(50_000),
        pytest.raises(SvhnUnavailableError, match=r"cannot be written .* cache_dir"),
    ):
        load_svhn(cache_dir=cache, url=mirror.url, checksums=mirror.checksums, progress=False)
    assert not cache.exists()


def test_a_disk_that_fills_up_during_the_preparation_leaves_the_downloads_only(cache):
    # One noisy image many times: short as a compressed .mat, long as PNG files.
    images = np.repeat(random_digits(1, seed=4)[0], 60, axis=0)
    content = mat_bytes(images, np.arange(60) % 10, do_compression=True)
    assert len(content) < 100_000
    with serving(dict.fromkeys(NAMES, content)) as mirror:
        with no_file_longer_than(100_000), pytest.raises(SvhnUnavailableError, match=r"cache_dir"):
            load_svhn(cache_dir=cache, url=mirror.url, checksums=mirror.checksums, progress=False)
        assert sorted(path.name for path in cache.rglob("*") if path.is_file()) == sorted(NAMES)
        data = load_svhn(cache_dir=cache, url=mirror.url, checksums=mirror.checksums, progress=False)
        np.testing.assert_array_equal(data.train.images, images)
        assert len(mirror.requests) == 2


def test_no_space_left(single, tmp_path, monkeypatch):
    ordinary = Path.open

    def full(self: Path, *arguments: object, **options: object) -> object:
        file = ordinary(self, *arguments, **options)
        if self.name.endswith(".part"):

            class Full:
                def __enter__(self) -> "Full":
                    return self

                def __exit__(self, *_: object) -> None:
                    file.close()

                def write(self, chunk: bytes) -> int:
                    file.write(chunk[: len(chunk) // 2])
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            return Full()
        return file

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(SvhnUnavailableError, match=r"No space left on device.*500 MB"):
        get(single, tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_cache_that_cannot_be_made(mirror, tmp_path):
    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(SvhnUnavailableError, match=r"cannot be written .* TFDS_DATA_DIR"):
        load_svhn(cache_dir=tmp_path / "occupied", url=mirror.url, checksums=mirror.checksums, progress=False)
    assert below(tmp_path) == ["occupied"]
    assert mirror.requests == []


# --- local copies ----------------------------------------------------------------------------------------


def test_a_local_mat_pair(digits, tmp_path):
    for name, split in zip(NAMES, ("train", "test"), strict=True):
        (tmp_path / name).write_bytes(mat_bytes(*digits[split]))
    data = load_svhn(tmp_path)
    for split, got in (("train", data.train), ("test", data.test)):
        np.testing.assert_array_equal(got.images, digits[split][0])
        np.testing.assert_array_equal(got.labels, digits[split][1])
    assert "official .mat pair" in data.source


def test_a_local_npz_pair(digits, tmp_path):
    for split, (images, labels) in digits.items():
        np.savez(tmp_path / f"{split}.npz", images=images, labels=labels.astype(np.uint8), other=np.arange(3))
    data = load_svhn(str(tmp_path))
    for split, got in (("train", data.train), ("test", data.test)):
        np.testing.assert_array_equal(got.images, digits[split][0])
        np.testing.assert_array_equal(got.labels, digits[split][1])
    assert data.train.labels.dtype == np.int64
    assert "npz pair" in data.source


@pytest.mark.skipif(not REAL.is_dir(), reason="the SVHN subset is not here")
def test_the_real_subset():
    data = load_svhn(REAL)
    assert data.name == "SVHN (24.8k subset)"
    assert data.train.images.shape == (24_776, 32, 32, 3)
    assert data.test.images.shape == (4_809, 32, 32, 3)
    with np.load(REAL / "test.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(data.test.images, archive["images"])
        np.testing.assert_array_equal(data.test.labels, archive["labels"])
    assert set(np.unique(data.train.labels)) == set(range(10))


def mat(images: np.ndarray, y: object) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"X": images, "y": np.asarray(y)})
    return buffer.getvalue()


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


GOOD = np.zeros((3, 32, 32, 3), np.uint8)
GOOD_MAT = mat(GOOD.transpose(1, 2, 3, 0), [[1], [2], [3]])
GOOD_NPZ = npz(images=GOOD, labels=[1, 2, 3])
BAD_FILES = {
    "mat cut short": ("mat", mat_bytes(*random_digits(3, 5))[:5000], "cannot be read .* copy it again"),
    "mat empty": ("mat", b"", "cannot be read .* copy it again"),
    "mat of text": ("mat", b"<html>404</html>" * 100, "cannot be read .* copy it again"),
    "mat not transposed": ("mat", mat(GOOD, [[1], [2], [3]]), r"shape .*\(n, 32, 32, 3\)"),
    "mat of gray images": (
        "mat",
        mat(GOOD[..., 0].transpose(1, 2, 0), [[1], [2], [3]]),
        r"X has shape \(32, 32, 3\)",
    ),
    "mat of floats": (
        "mat",
        mat(GOOD.transpose(1, 2, 3, 0) / 255, [[1], [2], [3]]),
        "float64; expected uint8",
    ),
    "mat of one label too few": ("mat", mat(GOOD.transpose(1, 2, 3, 0), [[1], [2]]), "2 labels for 3 images"),
    "mat label 11": ("mat", mat(GOOD.transpose(1, 2, 3, 0), [[1], [11], [3]]), "1 labels that are outside .* 11"),
    "mat label 1.5": ("mat", mat(GOOD.transpose(1, 2, 3, 0), [[1], [1.5], [3]]), "outside 0..10 .* 1.5"),
    "mat without X": (
        "mat",
        (lambda b: (scipy.io.savemat(b, {"y": [1]}), b.getvalue()))(io.BytesIO())[1],
        "no array 'X'",
    ),
    "npz cut short": ("npz", GOOD_NPZ[:3000], "cannot be read .* copy it again"),
    "npz of text": ("npz", b"not an archive", "cannot be read .* copy it again"),
    "npz without labels": ("npz", npz(images=GOOD), r"no array 'labels', only \['images'\]"),
    "npz of floats": ("npz", npz(images=GOOD / 255, labels=[1, 2, 3]), "float64; expected uint8"),
    "npz of small images": ("npz", npz(images=GOOD[:, :28], labels=[1, 2, 3]), r"\(3, 28, 32, 3\); expected"),
    "npz without images": ("npz", npz(images=GOOD[:0], labels=np.zeros(0, int)), "holds no images"),
    "npz negative label": ("npz", npz(images=GOOD, labels=[1, 2, -3]), "outside 0..10 .* -3"),
    "npz NaN label": ("npz", npz(images=GOOD, labels=[1, 2, np.nan]), "outside 0..10 .* nan"),
    "npz of text labels": (
        "npz",
        npz(images=GOOD, labels=["a", "b", "c"]),
        "labels are <U1; expected integers",
    ),
    "npz with pickles": (
        "npz",
        npz(images=GOOD, labels=np.array([1, "a", None], object)),
        "allow_pickle=False",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_local_files(case, tmp_path):
    kind, content, message = BAD_FILES[case]
    train, test = NAMES if kind == "mat" else ("train.npz", "test.npz")
    (tmp_path / train).write_bytes(content)
    (tmp_path / test).write_bytes(GOOD_MAT if kind == "mat" else GOOD_NPZ)
    with pytest.raises(ValueError, match=message) as caught:
        load_svhn(tmp_path)
    assert str(tmp_path / train) in str(caught.value)


def test_an_incomplete_pair_is_never_half_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder; expected one with .*train\.npz"):
        load_svhn(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"holds neither pair; expected the official \.mat pair"):
        load_svhn(tmp_path)
    (tmp_path / "train_32x32.mat").write_bytes(GOOD_MAT)
    (tmp_path / "test.npz").write_bytes(GOOD_NPZ)
    with pytest.raises(FileNotFoundError, match=r"holds train_32x32\.mat and test\.npz; expected .* complete a pair"):
        load_svhn(tmp_path)
