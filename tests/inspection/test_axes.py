"""Colours that the displays share."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from skmmrec.inspection import ModalityContributionDisplay
from skmmrec.inspection._axes import COLORS, ink_on, modality_colors

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")

NAMES = st.lists(st.text(max_size=5), unique=True, max_size=len(COLORS))


@given(NAMES, st.randoms())
def test_each_modality_has_its_colour_in_any_order(names, random):
    chosen = dict(zip(names, modality_colors(names), strict=True))
    assert len(set(chosen.values())) == len(names)
    mixed = random.sample(names, len(names))
    assert dict(zip(mixed, modality_colors(mixed), strict=True)) == chosen


def test_usual_modalities_keep_theirs_whatever_is_beside_them():
    for names in (["text", "image"], ["Ton", "image", "x", "text"], ["image"]):
        chosen = dict(zip(names, modality_colors(names), strict=True))
        assert chosen["image"] == COLORS[1]
        assert chosen.get("text", COLORS[0]) == COLORS[0]


def test_parts_have_the_colours_of_what_they_are():
    parts = ["video_image", "video_sound"]
    assert modality_colors(parts) == modality_colors(["image", "sound"])
    assert modality_colors(["video_image", "image"])[1] == COLORS[1]


def test_many_modalities_and_colours_of_ones_own():
    assert len(modality_colors([f"m{n}" for n in range(20)])) == 20
    assert modality_colors(["a", "b", "c"], ["red", "blue"]) == ["red", "blue", "red"]


def luminance(color):
    rgb = np.array(matplotlib.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("color", COLORS)
def test_numbers_on_bars_can_be_read(color):
    """WCAG 2 asks for a contrast of 3 for large text."""
    one, other = sorted([luminance(color), luminance(ink_on(color))])
    assert (other + 0.05) / (one + 0.05) >= 3


def test_items_for_which_no_modality_speaks_are_grey():
    shares = pd.DataFrame({"海報": [0.5, 1.0], "text": [0.1, 0.0]}, ["ann", "bob"])
    display = ModalityContributionDisplay(shares=shares).plot()
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels[1:] == ["text", "no modality"]
    full = ModalityContributionDisplay(shares=shares.assign(text=[0.5, 0.0])).plot()
    assert len(full.ax_.get_legend().get_texts()) == 2
    assert full.ax_.get_xlabel()
    plt.close("all")
