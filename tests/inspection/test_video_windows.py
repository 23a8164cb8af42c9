"""The windows of a video, drawn on one axis of time."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

plt = pytest.importorskip("matplotlib.pyplot")
pytest.importorskip("av")

from matplotlib.colors import to_rgba  # noqa: E402

from skmmrec import AudioEncoder, VideoEncoder  # noqa: E402
from skmmrec.datasets._films import write_video  # noqa: E402
from skmmrec.inspection import (  # noqa: E402
    VideoWindowsDisplay,
    modality_colors,
)


@pytest.fixture(autouse=True)
def _close():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def listener():
    sound = AudioEncoder("MobileNetV1", pretrained=False, window=1.0)
    return VideoEncoder("drop", sound, window=1.0, n_frames=2).fit([None])


def windows(**columns):
    table = {"start": [0.0, 2.0], "end": [2.0, 3.0], "image": True, "sound": True}
    return pd.DataFrame(table | columns)


def texts(display):
    return [text.get_text() for text in display.ax_.texts]


PICTURE = Image.new("RGB", (36, 64), (200, 20, 20))


def test_frames_stand_at_their_times_in_their_shape():
    frames = [(0.5, PICTURE), (1.5, PICTURE), (2.9, PICTURE)]
    display = VideoWindowsDisplay(windows=windows(), frames=frames).plot()
    extents = np.array([image.get_extent() for image in display.ax_.images])
    middles = extents[:, :2].mean(axis=1)
    np.testing.assert_allclose(middles[:2], [0.5, 1.5], atol=1e-9, rtol=1e-9)
    assert extents[:, 1].max() <= 3 + 1e-9
    box = display.ax_.get_window_extent()
    wide = np.ptp(extents[:, :2], axis=1) / 3 * box.width
    high = np.ptp(extents[:, 2:], axis=1) * box.height
    np.testing.assert_allclose(wide / high, 36 / 64, rtol=0.02, atol=0.01)
    assert (extents[1:, 0] >= extents[:-1, 1]).all()  # no frame covers another
    assert display.ax_.get_xlim() == (0.0, 3.0)


def test_many_frames_do_not_overlap():
    frames = [((n + 0.5) / 20, PICTURE) for n in range(60)]
    display = VideoWindowsDisplay(windows=windows(), frames=frames).plot()
    extents = np.array([image.get_extent() for image in display.ax_.images])
    assert (extents[1:, 0] >= extents[:-1, 1]).all()


def test_a_part_that_is_missing_is_hollow_and_named():
    table = windows(image=False, sound=[True, False])
    sound = np.sin(np.arange(3000.0))
    display = VideoWindowsDisplay(
        windows=table, frames=[], waveform=sound, sample_rate=1000, title="A short"
    ).plot()
    outline, *drawn = display.ax_.collections
    assert [bool(len(bar.get_facecolor())) for bar in drawn] == [
        *[False] * 2,
        *[True, False],
    ]
    assert "no pictures" in texts(display)
    assert "no sound" not in texts(display)
    assert display.ax_.get_title() == "A short"
    reach = outline.get_paths()[0].get_extents()
    assert reach.x1 == pytest.approx(3.0, abs=0.01)
    nothing = VideoWindowsDisplay(windows=table, waveform=np.zeros(0)).plot()
    assert {"left out", "no sound"} <= set(texts(nothing))


def test_parts_have_their_colours_and_titles_their_letters():
    display = VideoWindowsDisplay(
        windows=windows(), waveform=np.ones(3000), sample_rate=1000, title="a\x07b"
    ).plot()
    outline, *bars = (part.get_facecolor() for part in display.ax_.collections)
    seen, heard = map(to_rgba, modality_colors(["image", "sound"]))
    expected = [heard, seen, seen, heard, heard]
    np.testing.assert_allclose(
        np.vstack([outline, *bars]), expected, atol=1e-6, rtol=1e-6
    )
    assert display.ax_.get_title() == "a b"


def test_windows_that_overlap_are_drawn_in_rows():
    table = pd.DataFrame(
        {"start": [0, 1, 2], "end": [2, 3, 4], "image": True, "sound": True}
    )
    display = VideoWindowsDisplay(windows=table).plot()
    boxes = [bar.get_paths()[0].get_extents() for bar in display.ax_.collections[:3]]
    assert boxes[0].y0 == boxes[2].y0 != boxes[1].y0
    assert {"1", "2"}.isdisjoint(texts(display))


def test_an_encoder_shows_what_it_reads(listener):
    rate = 16_000
    sound = np.r_[np.zeros(rate), 0.5 * np.sin(np.arange(rate))]
    video = write_video([PICTURE.resize((144, 256))] * 20, sound, rate)
    display = VideoWindowsDisplay.from_estimator(listener, video, title="t")
    assert display.frames is None
    assert display.sample_rate == rate
    loud = np.flatnonzero(np.abs(display.waveform) > 0.2) / rate
    assert loud[0] == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(display.windows["start"], [0, 1], atol=0.01, rtol=0)
    assert not display.windows["image"].any()
    ax = plt.figure().add_subplot()
    assert VideoWindowsDisplay.from_estimator(listener, video, ax=ax).ax_ is ax


def test_what_cannot_be_drawn_is_refused(listener):
    with pytest.raises(TypeError, match="VideoEncoder, got AudioEncoder"):
        VideoWindowsDisplay.from_estimator(AudioEncoder(), b"")
    with pytest.raises(ValueError, match="video is missing"):
        VideoWindowsDisplay.from_estimator(listener, None)
    with pytest.raises(ValueError, match="not a readable video"):
        VideoWindowsDisplay.from_estimator(listener, b"no video")
    with pytest.raises(ValueError, match="max_frames must be at least 1"):
        VideoWindowsDisplay.from_estimator(listener, b"", max_frames=0)
    lenient = VideoEncoder("drop", listener.audio_encoder, on_error="missing")
    with (
        pytest.warns(UserWarning, match="could not be read"),
        pytest.raises(ValueError, match="cannot be read"),
    ):
        VideoWindowsDisplay.from_estimator(lenient.fit([None]), b"no video")
