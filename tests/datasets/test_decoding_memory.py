"""Threads that decode large images share the memory that is free."""

import threading
import time

import pytest

from jaxunreg.datasets.folders import ImageFileError, load_files, pixels
from jaxunreg.datasets.folders.memory import TooLittleMemoryError, Turns, free_memory
from tests.datasets.written_images import gray, rgb, write


def most_at_once(turns: Turns, sizes: list[int]) -> int:
    """The most bytes that threads hold together which take these sizes."""
    held, most, lock = 0, 0, threading.Lock()

    def take(nbytes: int) -> None:
        nonlocal held, most
        with turns.taking(nbytes):
            with lock:
                held += nbytes
                most = max(most, held)
            time.sleep(0.002)
            with lock:
                held -= nbytes

    threads = [threading.Thread(target=take, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert held == 0
    return most


def test_threads_take_no_more_than_half_of_what_is_free():
    turns = Turns(lambda: 100)
    assert most_at_once(turns, [20] * 30) == 40
    assert most_at_once(turns, [50, 10, 30, 20] * 8) <= 50
    # A request that fits into all of it, but not into half, is taken alone.
    assert most_at_once(turns, [90, 10, 80, 5] * 4) == 90
    with (
        pytest.raises(TooLittleMemoryError, match="got 1.1e-07 GB to take; expected at most 1e-07 GB"),
        turns.taking(110),
    ):
        pass
    with pytest.raises(ZeroDivisionError), turns.taking(50):
        _ = 1 / 0
    assert most_at_once(turns, [50]) == 50


def test_a_container_has_what_its_limit_leaves(tmp_path):
    whole = free_memory(tmp_path / "nowhere")
    assert whole > 2**20
    for name, value in {"max": 10_000, "current": 9_000, "stat": "anon 5\ninactive_file 500\nfile 700"}.items():
        (tmp_path / f"memory.{name}").write_text(f"{value}\n")
    assert free_memory(tmp_path) == 1_500
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) > 2**20


@pytest.mark.parametrize("kind", [gray, rgb])
def test_an_image_that_does_not_fit_is_named_and_may_be_skipped(kind, tmp_path, monkeypatch):
    write(tmp_path / "large.png", kind(0, 40, 50))
    write(tmp_path / "small.png", kind(0, 4, 5))
    monkeypatch.setattr(pixels, "_TURNS", Turns(lambda: 4_000))
    with pytest.raises(ImageFileError, match=r"large\.png: needs more memory to decode than is free \(got .* GB"):
        load_files([tmp_path])
    images = load_files([tmp_path], on_error="skip")
    assert [file.path.name for file in images.files] == ["small.png"]


def test_memory_that_runs_out_is_no_damage(tmp_path, monkeypatch):
    write(tmp_path / "a.png", gray(0))

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(pixels, "_as_array", full)
    with pytest.raises(ImageFileError, match=r"needs more memory to decode than is free \(MemoryError\); close other"):
        load_files([tmp_path / "a.png"])
