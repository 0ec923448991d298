"""Image files as a sequence: lazy, read once, and split by groups."""

import copy
import dataclasses
import hashlib
import pickle
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jaxunreg.datasets.folders import ImageFile, ImageFileError, ImageFiles, checking, image_files, load_files, room
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.folders.pixels import decode
from jaxunreg.datasets.folders.splitting import held_out
from tests.datasets.written_images import gray, write, write_mask, write_tree


def test_files_and_folders_to_score(tmp_path):
    one = write(tmp_path / "z.png", gray(0))
    write(tmp_path / "lot" / "b.png", gray(1))
    write(tmp_path / "lot" / "a.png", gray(2))
    write_mask(tmp_path / "lot" / "a_mask.png")
    write(tmp_path / "lot" / "inner" / "c.png", gray(3))
    write(tmp_path / "lot" / ".trash" / "d.png", gray(3))
    (tmp_path / "lot" / "notes.txt").write_text("x")
    images = load_files([one, str(tmp_path / "lot")])
    assert [file.path.name for file in images.files] == ["z.png", "a.png", "b.png", "c.png"]
    assert [entry.path.name for entry in images.skipped] == ["notes.txt", "a_mask.png"]
    assert images.mask(0) is None
    with pytest.raises(ValueError, match="got 4 of 4 images with an unknown label"):
        _ = images.is_anomalous
    with pytest.raises(FileNotFoundError, match=r"x\.png does not exist"):
        load_files([tmp_path / "x.png"])
    with pytest.raises(ValueError, match="got no image"):
        load_files([])


def test_images_are_lazy_and_a_sequence(tmp_path, monkeypatch):
    for i in range(6):
        write(tmp_path / f"{i}.png", gray(i, height=5 + i))
    monkeypatch.setattr(room, "MOST_BYTES", 0)
    images = load_folder(tmp_path).train
    decoded = []
    monkeypatch.setattr(image_files, "decode", lambda file: decoded.append(file.path) or decode(file))
    assert images.sizes.dtype == np.int64
    assert images.sizes.tolist() == [[5 + i, 9] for i in range(6)]
    assert images.nbytes == sum((5 + i) * 9 for i in range(6))
    chosen = images.select(np.array([4, 0]))
    assert [file.path.name for file in chosen.files] == ["4.png", "0.png"]
    assert [file.path.name for file in images.select(images.sizes[:, 0] > 8).files] == ["4.png", "5.png"]
    assert [file.path.name for file in images[-2:].files] == ["4.png", "5.png"]
    assert decoded == []
    np.testing.assert_array_equal(images[np.int64(-1)][:, :, 0], gray(5, height=10), strict=True)
    assert len(decoded) == 1
    assert [image.shape[0] for image in images] == [5, 6, 7, 8, 9, 10]
    with pytest.raises(IndexError):
        images[6]
    with pytest.raises(IndexError, match=r"got \(2,\) truth values; expected \(6,\)"):
        images.select([True, False])
    with pytest.raises(AttributeError):
        images.files = ()


def test_images_can_be_sent_to_other_processes(tmp_path):
    data = load_folder(write_tree(tmp_path))
    copy = pickle.loads(pickle.dumps(data.test))
    assert copy.files == data.test.files
    np.testing.assert_array_equal(copy[2], data.test[2], strict=True)
    error = pickle.loads(pickle.dumps(ImageFileError(tmp_path, "is odd", "an even one", "halve it")))
    assert str(error) == f"{tmp_path}: is odd; expected an even one; halve it"
    assert (error.path, error.reason) == (tmp_path, "is odd; expected an even one; halve it")


_LISTENERS: list[list[str]] = []


def _note_opened(event: str, arguments: tuple) -> None:
    if event == "open" and _LISTENERS and isinstance(arguments[0], str | Path):
        for names in _LISTENERS:
            if not str(arguments[0]).startswith("/proc/"):
                names.append(Path(arguments[0]).name)


sys.addaudithook(_note_opened)  # which sees what any library opens, and stays for as long as the process lives


@pytest.fixture
def opened():
    """The names of the files that are opened."""
    names = []
    _LISTENERS.append(names)
    yield names
    _LISTENERS.remove(names)


def test_every_file_is_read_once_for_its_pixels_and_its_hash(tmp_path, opened):
    root = write_tree(tmp_path)
    opened.clear()
    data = load_folder(root)
    masks = ["000_mask.png", "001_mask.png"]
    names = [file.path.name for file in (*data.train.files, *data.test.files)]
    assert sorted(opened) == sorted([*names, *masks])
    opened.clear()
    everything = data.train.joined(data.test)
    assert everything.hashes == data.train.hashes + data.test.hashes
    hashes = list(everything.hashes)
    kept, out = everything.split(0.5)
    for images in (everything[2:5], everything.select([7, 1]), everything.masked(), kept, out):
        assert set(images.hashes) <= set(hashes)
        assert len(images.fingerprint) == 64
    copy = pickle.loads(pickle.dumps(everything))
    assert (copy.hashes, copy.fingerprint) == (everything.hashes, everything.fingerprint)
    assert opened == []
    assert hashes == [hashlib.sha256(file.path.read_bytes()).hexdigest() for file in everything.files]


def test_what_is_decoded_is_kept_as_far_as_there_is_room(tmp_path, opened, monkeypatch):
    pictures = [gray(i) for i in range(4)]
    folder = tmp_path / "lot"
    for i, picture in enumerate(pictures):
        write(folder / f"{i}.png", picture)
    images = load_files([folder])
    opened.clear()
    images[0][:] = 0  # A caller's own copy.
    for images_again in (images, images.select([0, 1, 2, 3]), pickle.loads(pickle.dumps(images))):
        for image, picture in zip(images_again, pictures, strict=True):
            np.testing.assert_array_equal(image[:, :, 0], picture, strict=True)
    assert sorted(opened) == [f"{i}.png" for i in range(4)]  # The pickled ones, which carry no pixels along.
    monkeypatch.setattr(room, "MOST_BYTES", 3 * pictures[0].nbytes - 1)
    images = load_files([folder])
    opened.clear()
    for image, picture in zip(images, pictures, strict=True):
        np.testing.assert_array_equal(image[:, :, 0], picture, strict=True)
    assert len(opened) == 2


def test_kept_masks_are_those_of_the_files(tmp_path, opened):
    data = load_folder(write_tree(tmp_path))
    opened.clear()
    masks = [data.test.mask(k) for k in range(len(data.test))]
    assert opened == []
    copy = pickle.loads(pickle.dumps(data.test))
    for mask, k in zip(masks, range(len(copy)), strict=True):
        np.testing.assert_array_equal(mask, copy.mask(k))
    assert any(mask is not None and mask.any() for mask in masks)


def test_nothing_is_read_before_it_is_asked_for(tmp_path, opened):
    files = tuple(ImageFile(write(tmp_path / f"{i}.png", gray(i)), group=str(i)) for i in range(3))
    expected = [hashlib.sha256(file.path.read_bytes()).hexdigest() for file in files]
    images = ImageFiles(files, np.array([[6, 9]] * 3), 1)
    opened.clear()
    assert isinstance(images, Sequence)
    assert images != ImageFiles(files, images.sizes, 1)
    assert files[0] == ImageFile(files[0].path, group="0")
    copies = [copy.copy(images), copy.deepcopy(images), pickle.loads(pickle.dumps(images))]
    assert all(repr(each) == repr(images) for each in copies)
    assert opened == []
    # One read gives pixels and hash, whichever of them is asked for first.
    np.testing.assert_array_equal(images[1][:, :, 0], gray(1), strict=True)
    assert opened == ["1.png"]
    assert images[1:2].hashes == (expected[1],)
    assert opened == ["1.png"]
    renamed = dataclasses.replace(files[1], label="crack")
    assert (renamed.content.sha256, opened) == (expected[1], ["1.png"])
    assert dataclasses.replace(files[1], path=files[2].path).content.sha256 == expected[2]


def test_threads_hash_a_file_once(tmp_path, opened):
    file = ImageFile(write(tmp_path / "a.png", gray(0)))
    opened.clear()
    with ThreadPoolExecutor(8) as threads:
        hashes = set(threads.map(lambda _: file.content.sha256, range(64)))
    assert opened == ["a.png"]
    assert hashes == {hashlib.sha256(file.path.read_bytes()).hexdigest()}


def test_the_fingerprint_is_that_of_the_contents(tmp_path):
    root = write_tree(tmp_path / "one")
    before = load_folder(root).test.fingerprint
    moved = shutil.copytree(root, tmp_path / "two")
    assert load_folder(moved).test.fingerprint == before
    write_mask(moved / "ground_truth" / "crack" / "000_mask.png", value=200)
    with_mask = load_folder(moved).test.fingerprint
    write(moved / "test" / "dent" / "000.png", gray(99))
    with_image = load_folder(moved).test.fingerprint
    (moved / "test" / "dent").rename(moved / "test" / "scratch")
    assert len({before, with_mask, with_image, load_folder(moved).test.fingerprint}) == 4


def test_groups_are_held_out_whole():
    groups = [f"part{i // 3}" for i in range(300)]
    out = held_out(groups, 0.3)
    assert out.sum() == 90
    assert all(len(set(out[3 * i : 3 * i + 3])) == 1 for i in range(100))
    # Neither the order nor a group that goes matters to the others, except at the margin of the share.
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(held_out([groups[i] for i in order], 0.3), out[order])
    assert (held_out(groups[3:], 0.3) != out[3:]).sum() <= 3
    assert (held_out(groups, 0.3, seed=1) != out).any()
    assert held_out(["a", "b"], 0.01).sum() == held_out(["a", "b"], 0.99).sum() == 1
    assert not held_out(["a", "b"], 0.0).any()
    for fraction in (-0.1, 1.0):
        with pytest.raises(ValueError, match="expected at least 0 and less than 1"):
            held_out(groups, fraction)
    with pytest.raises(ValueError, match=r"got 1 group\(s\) of images"):
        held_out(["a", "a"], 0.5)


def test_splitting_keeps_groups_together(tmp_path):
    for i in range(12):
        write(tmp_path / f"{i}.png", gray(i))
    images = load_files([tmp_path], label="good")
    files = tuple(ImageFile(file.path, group=f"part{i // 4}") for i, file in enumerate(images.files))
    images = ImageFiles(files, images.sizes, images.channels)
    kept, out = images.split(0.34, seed=2)
    assert (len(kept), len(out)) == (8, 4)
    assert not {file.group for file in kept.files} & {file.group for file in out.files}


def test_a_bar_is_shown_after_a_few_seconds_only(tmp_path, monkeypatch, capsys):
    for i in range(3):
        write(tmp_path / f"{i}.png", gray(i))
    load_files([tmp_path])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(checking, "_SECONDS_WITHOUT_BAR", 0.0)
    load_files([tmp_path], progress=False)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    load_files([tmp_path])
    assert "reading images" in capsys.readouterr().err
