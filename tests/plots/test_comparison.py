"""Fig. 11: one panel a map, each on a scale of its own, and the mask's outline on the image."""

import numpy as np
import pytest

from jaxunreg.plots.comparison import heat_map_comparison

IMAGE = np.linspace(0, 1, 48).reshape(8, 6, 1)


def test_every_map_is_on_a_scale_of_its_own_on_which_the_highest_thousandth_is_equal():
    maps = {"VAE, M": IMAGE[..., 0] * 5 - 1, "AE": 7 * IMAGE[..., 0], **{f"map {k}": IMAGE[..., 0] for k in range(4)}}
    figure = heat_map_comparison(IMAGE, IMAGE[..., 0] > 0.5, maps, title="part")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["image", "ground truth", *maps]
    for axes, values in zip(figure.axes[2:], maps.values(), strict=True):
        (drawn,) = axes.images
        np.testing.assert_array_equal(drawn.get_array(), values)
        assert drawn.get_clim() == (values.min(), np.percentile(values, 99.9))
    assert figure.axes[2].get_xlabel() == f"-1 to {np.percentile(maps['VAE, M'], 99.9):.3g}, highest 4"


def test_one_pixel_does_not_leave_all_others_dark():
    values = np.linspace(0, 1, 10_000).reshape(100, 100)
    values[0, 0] = 100.0
    figure = heat_map_comparison(values[..., None] / 100, None, {"M": values, "one": 1.0 * (values > 50)}, title="part")
    assert [axes.images[0].get_clim() for axes in figure.axes[1:]] == [
        (values.min(), pytest.approx(0.999, abs=0.001)),
        (0.0, 1.0),
    ]


def test_the_mask_is_outlined_where_there_is_one():
    def outlines(mask: np.ndarray | None) -> int:
        return len(heat_map_comparison(IMAGE, mask, {"M": IMAGE[..., 0]}, title="part").axes[0].collections)

    assert outlines(IMAGE[..., 0] > 0.5) == 1
    assert outlines(np.zeros((8, 6), bool)) == 0
    assert outlines(None) == 0
    assert len(heat_map_comparison(IMAGE, None, {"M": IMAGE[..., 0]}, title="part").axes) == 2


@pytest.mark.parametrize(
    ("mask", "maps", "message"),
    [
        (None, {}, "got no maps"),
        (None, {"M": np.zeros((6, 8))}, r"got M of shape \[6, 8\]; expected \[8, 6\]"),
        (np.zeros((3, 3), bool), {"M": IMAGE[..., 0]}, r"got the mask of shape \[3, 3\]"),
        (None, {"M": np.full((8, 6), np.nan)}, "got M with NaN"),
    ],
)
def test_what_cannot_be_drawn_is_refused(mask, maps, message, no_type_checks):
    with pytest.raises(ValueError, match=message):
        heat_map_comparison(IMAGE, mask, maps, title="part")


def test_a_name_is_no_mathematics():
    figure = heat_map_comparison(IMAGE, None, {"M": IMAGE[..., 0]}, title="lot $^$ 7.png")
    figure.canvas.draw()
    assert figure.get_suptitle() == "lot $^$ 7.png"
