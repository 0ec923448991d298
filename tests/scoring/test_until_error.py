"""Streams of maps give everything that was computed before an error, for any size of a call."""

import numpy as np
import pytest

from jaxunreg.scoring.feature_stream import stream_working_images
from jaxunreg.scoring.patch_stream import map_patches


class LensCapError(Exception):
    pass


def images(count: int):
    for k in range(count):
        yield np.full((32, 32, 1), k, np.uint8)
    raise LensCapError


def by_patches(count: int, function):
    found = map_patches(function, images(count), patch=(32, 32), stride=1, patches_a_call=5)
    return (int(maps.item()) for maps in found)


def by_features(count: int, function):
    found = stream_working_images(lambda batch: function(255 * batch), images(count), (32, 32), 1)
    return (round(float(value)) for _, value in found)


def mean(batch):
    return batch.mean(axis=(1, 2, 3))


@pytest.mark.parametrize("stream", [by_patches, by_features])
@pytest.mark.parametrize("count", [0, 3, 5, 12])
def test_all_images_before_an_error_come_first(stream, count):
    got = []
    with pytest.raises(LensCapError):
        got.extend(stream(count, mean))
    # `extend` keeps what it was given before the error.
    assert got == list(range(count))


def test_a_call_that_fails_loses_none_before_it():
    def full(batch):
        if batch[0, 0, 0, 0] == 10:
            raise MemoryError
        return mean(batch)

    got = []
    with pytest.raises(MemoryError):
        got.extend(by_patches(12, full))
    assert got == list(range(10))
