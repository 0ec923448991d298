"""Paths that users give, and files that are none."""

import os
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxunreg as ju
from jaxunreg.datasets.digits.svhn.local import SvhnFileError, read_mat, read_npz
from jaxunreg.datasets.folders import load_files
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.errors import ArgumentError, ArgumentTypeError
from jaxunreg.features import ResNet, WeightsError
from jaxunreg.paths import given_path, read_file


@pytest.fixture
def no_home(monkeypatch):
    """A user of a container. The system knows its number, but no home."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)


def test_a_tilde_is_the_home_unless_it_begins_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert given_path("directory", "~/parts") == tmp_path / "home" / "parts"
    for name in ("~part.png", "~"):
        (tmp_path / name).touch()
        assert given_path("paths", name) == Path(name)
    assert given_path("paths", "~nobody-of-this-name/a.png") == Path("~nobody-of-this-name/a.png")


def test_without_a_home_a_tilde_is_a_name(no_home):
    assert given_path("directory", "~/parts") == Path("~/parts")


TAKERS = {
    "load_folder": lambda path: load_folder(path),
    "load_files": lambda path: load_files([path]),
    "load_model": lambda path: ju.load_model(path),
    "AnomalyDetector.load": lambda path: ju.AnomalyDetector.load(path),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("", ArgumentError, "=''; expected a path; give '.' for the current folder"),
        ("a\0b", ArgumentError, "expected a path without null bytes"),
        (5, ArgumentTypeError, "of type int; expected a path; give .* as str or Path"),
        (None, ArgumentTypeError, "of type NoneType; expected a path"),
    ],
)
def test_what_is_no_path_is_refused_at_every_door(taker, path, error, message, no_type_checks):
    with pytest.raises(error, match=message):
        TAKERS[taker](path)


@pytest.fixture
def soon():
    """Fails what waits for ever."""

    def late(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)


def planted(kind: str, folder: Path) -> Path:
    path = folder / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    return path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_what_is_no_file_is_refused_and_not_waited_for(kind, tmp_path, soon):
    with pytest.raises(OSError, match=f"it is a {kind} and no file"):
        read_file(planted(kind, tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
@pytest.mark.parametrize(
    "load",
    [
        lambda folder: load_files([folder], on_error="skip").skipped,
        lambda folder: load_folder(folder, on_error="skip").skipped,
    ],
)
def test_a_pipe_among_images_is_skipped(load, tmp_path, soon):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    [skipped] = load(planted("pipe", tmp_path).parent)
    assert skipped == (tmp_path / "x.png", "cannot be opened (it is a pipe and no file); check the path and its rights")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
@pytest.mark.parametrize("read", [ResNet.from_file, read_mat, read_npz])
def test_weights_and_digits_are_read_from_files_alone(read, kind, tmp_path, soon):
    with pytest.raises((WeightsError, SvhnFileError), match=f"it is a {kind} and no file"):
        read(planted(kind, tmp_path))
