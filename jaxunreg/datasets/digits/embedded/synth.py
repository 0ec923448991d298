"""House-number-like digits drawn from a seed, like the synthetic digits of Ganin and Lempitsky.

The images replace SVHN where it is not available. They show a digit in the middle, often with the cut-off neighbours of
the same house number at the edges, on a background that is mostly smooth. Font, weight, size, place, rotation, slant,
colours, shading, blur and noise vary between images, and so does their complexity, from which the unregularized score
is to be independent.

References:
  Ganin, Y. and Lempitsky, V. Unsupervised Domain Adaptation by Backpropagation. ICML 2015.
"""

import numpy as np

from jaxunreg.datasets.digits.dataset import LabeledImages
from jaxunreg.datasets.digits.embedded.glyphs import draw_glyphs
from jaxunreg.datasets.digits.embedded.random_bits import standard_normal, uniform
from jaxunreg.datasets.digits.embedded.rendering import LATTICE, render
from jaxunreg.datasets.digits.embedded.style import STYLE_DRAWS, draw_style
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.integers import check_integer

# Streams of random bits. Each image takes a fixed number of bits, so image i is found by skipping ahead.
_STYLE_STREAM, _TEXTURE_STREAM, _NOISE_STREAM = range(3)

_SMALLEST_IMAGE, _LARGEST_IMAGE = 8, 256

# Pixels of one block: 256 images of 32x32. Their float32 planes of 1 MB stay in the processor's cache.
_BLOCK_PIXELS = 2**18


def synth_digits(n: int, *, seed: int = 0, image_size: int = 32, start: int = 0) -> LabeledImages:
    """Draw images `start` to `start + n - 1` of the endless data set of `seed`.

    Image i depends only on `(seed, image_size, i)`, so `start` makes splits that do not overlap. The bytes are the same
    on every platform with the same rasteriser of Pillow and fonts of matplotlib. `fonts_fingerprint` identifies the
    fonts. The random bits are PCG64's own. All arithmetic on them uses integers or single IEEE operations, no
    transcendental function, and no reduction whose order could differ.

    Args:
      n: number of images, at least 1.
      seed: not negative.
      image_size: height and width in pixels, 8 to 256. The look is made for 32 and scales with it.
      start: index of the first image, not negative.

    Returns:
      uint8 images `[n, image_size, image_size, 3]` and int64 labels `[n]`: the digit in the middle,
      independent and uniform over 0 to 9.

    Raises:
      ArgumentTypeError: an argument is not an integer.
      ArgumentError: an argument is out of its range.
      MissingFileError: matplotlib's fonts are not installed.

    >>> images, labels = synth_digits(5, seed=1)
    >>> images.shape, labels.shape
    ((5, 32, 32, 3), (5,))
    >>> bool((synth_digits(2, seed=1, start=3).images == images[3:]).all())
    True
    """
    n = check_integer("n", n, at_least=1, advice="ask for one image or more")
    seed = check_integer("seed", seed, at_least=0, advice="any natural number will do")
    start = check_integer("start", start, at_least=0, advice="the data set begins with image 0")
    image_size = check_integer(
        "image_size",
        image_size,
        at_least=_SMALLEST_IMAGE,
        advice="a digit cannot be recognised in fewer pixels",
    )
    if image_size > _LARGEST_IMAGE:
        raise ArgumentError(
            argument("image_size", image_size),
            f"at most {_LARGEST_IMAGE}",
            "draw at that size and enlarge the images",
        )
    glyphs = draw_glyphs(image_size)
    pixels = image_size * image_size
    # Half a word of 64 bits for each of the three channels of a pixel.
    words = {_STYLE_STREAM: STYLE_DRAWS, _TEXTURE_STREAM: LATTICE**2, _NOISE_STREAM: (3 * pixels + 1) // 2}
    streams = {
        stream: np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,))).advance(start * count)
        for stream, count in words.items()
    }

    images = np.empty((n, image_size, image_size, 3), np.uint8)
    labels = np.empty(n, np.int64)
    block = max(1, _BLOCK_PIXELS // pixels)
    for first in range(0, n, block):
        rows = slice(first, min(first + block, n))
        count = rows.stop - rows.start
        bits = {
            stream: streams[stream].random_raw(count * words[stream]).reshape(count, words[stream])
            for stream in streams
        }
        style = draw_style(uniform(bits[_STYLE_STREAM]), image_size, glyphs)
        planes = render(style, uniform(bits[_TEXTURE_STREAM]), image_size, glyphs)
        planes += style.noise[:, None, None, None] * standard_normal(bits[_NOISE_STREAM], planes.shape)
        images[rows] = np.clip(np.rint(planes), 0, 255).transpose(0, 2, 3, 1)
        labels[rows] = style.label
    return LabeledImages(images, labels)
