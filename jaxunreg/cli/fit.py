"""`jaxunreg fit`: learn from a folder of normal images."""

from pathlib import Path
from typing import Annotated

import jax
import tyro

from jaxunreg.cli.console import say
from jaxunreg.cli.exit_codes import EXIT_CODES, SUCCESS
from jaxunreg.cli.masks import read_ignored, read_regions
from jaxunreg.cli.options import Directory
from jaxunreg.cli.shown_images import show_images
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.folders.image_files import Color, OnError
from jaxunreg.inspection.config import DetectorConfig
from jaxunreg.inspection.detector_folder import FILE, TRAINING
from jaxunreg.inspection.fitting import fit_detector
from jaxunreg.inspection.promised_rates import promises

HELP = (
    """\
Learn from normal images, and set a threshold from some that are held out.

  jaxunreg fit good_parts --output model
  jaxunreg fit good_parts --output model --resolution 768 --false-positive-rate 0.01
  jaxunreg fit good_parts --output model --ignore fixture.png --region thread=thread.png:0.01
  jaxunreg fit good_parts --output model --space pixels --steps 20000

By default (--space features) a Gaussian learns a pretrained network's features of normal images. The kind of Gaussian
is chosen on normal images that are set apart, so no defect is needed. That takes seconds to minutes. With --space
pixels a variational autoencoder is trained on the pixels, as in the paper, which takes minutes to hours. Only pixels
have --patch, --depth, --base-channels, --latent-dim, --stride and the options of the training. Only features have the
option --resolution.

Images are resized to about 384x384 pixels. Smaller images are not enlarged. Give a higher --resolution if the smallest
defect would be less than about 8 pixels wide at that size. It also enlarges small images.

DIRECTORY may be a folder of images, an MVTec-style tree (train/good, test/DEFECT, ground_truth/DEFECT), or a folder
with `good` beside one folder for each kind of defect. The model learns only from normal images. The folders of MVTec
LOCO, VisA, BTAD, KolektorSDD and the magnetic tiles are known, too. DIRECTORY may also be a CSV file whose first row
names its columns: path, and optionally label (good or the name of a defect), mask, split (train or test) and group.
Images are PNG, JPEG, BMP or TIFF with 8 or 16 bits, gray or RGB, from 16x16 (features) or one patch (pixels) up.

Draw masks over an image of the camera, in white on black. They fit images of any size with the same aspect ratio.
Pixels that --ignore marks count neither for scores nor for heat maps. A part of the image that --region names has its
own score, and its own rate if one follows its mask. The image is anomalous if any of its regions is. The verdicts are
pass, review and reject with --review-rate.

If the command is started again with the same output after Ctrl-C or a kill, a training goes on where it stopped, and a
fit to features begins again. A finished model is not made again. The path of the model is printed on stdout.
"""
    + "\n"
    + EXIT_CODES.format(success="the model is ready", anomalies="", interrupted="; start it again to go on")
)

_DEFAULT = DetectorConfig()


def fit(
    directory: tyro.conf.Positional[Directory],
    *,
    output: Directory,
    color: Color = "auto",
    on_error: OnError = "raise",
    test_fraction: float | None = None,
    ignore: Annotated[Path | None, tyro.conf.arg(metavar="MASK")] = None,
    region: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NAME=MASK[:RATE]")] = (),
    detector: DetectorConfig = _DEFAULT,
) -> int:
    """Learn from a folder of normal images.

    Args:
      directory: folder of images, or a CSV file that lists them.
      output: folder for the model: new or empty, or one in which this was stopped before.
      color: one choice for all images; auto is gray if all images are gray.
      on_error: what to do with an unusable image: stop, or list and skip it.
      test_fraction: share of the normal images to keep for `evaluate`; default: 0.25 if there are defects.
      ignore: mask of the pixels that do not count, white on black, or a folder of such masks.
      region: a part of the image with its own threshold; may be given several times.
      detector: what is learned and how.
    """
    ignored = None if ignore is None else read_ignored(ignore)
    regions = read_regions(region)
    data = load_folder(
        directory,
        color=color,
        on_error=on_error,
        min_size=detector.smallest_image,
        test_fraction=test_fraction,
        seed=detector.seed,
    )
    show_images("learning from", data, data.train)
    if (output / FILE).exists():
        say(f"{output} is finished already")
    elif (output / TRAINING / "checkpoints").is_dir():
        say(f"going on with the training in {output}")
    description = {k: v for k, v in data.describe().items() if k != "test"}
    found = fit_detector(
        data.train,
        detector,
        key=jax.random.key(detector.seed),
        directory=output,
        record={"data": {**description, "test_fraction": test_fraction}},
        ignored=ignored,
        named_regions=regions,
    )
    for sentence in promises(found):
        say(sentence)
    parts, files, copies = (found.record[name] for name in ("parts", "images", "copies"))
    if parts != files:
        besides = f" ({copies} are copies of others, byte by byte)" if copies else ""
        say(f"the {files} images show {parts} parts{besides}; the threshold rests on one image of each held-out part")
    print(output, flush=True)
    return SUCCESS
