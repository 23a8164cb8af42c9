"""A video as an encoder reads it: frames, windows and sound on one clock."""

import numpy as np
import pytest

from skmmrec.encoders import AudioEncoder, ImageEncoder, VideoEncoder, read_timeline

pytest.importorskip("av")

from .test_video import late_tone, make_video, two_colors


@pytest.fixture
def build(image_model):
    def fitted(image=True, sound=True, **options):
        parts = {
            "image_encoder": ImageEncoder(image_model) if image else "drop",
            "audio_encoder": AudioEncoder("MobileNetV1", False) if sound else "drop",
        }
        return VideoEncoder(**parts, window=1.0, **options).fit([None])

    return fitted


@pytest.fixture(scope="module")
def video():
    return make_video(two_colors(), late_tone())


def times(timeline):
    return [time for time, _ in timeline.frames]


def test_frames_are_those_that_represent_windows(build, video):
    timeline = read_timeline(build(n_frames=2), video, 12)
    assert times(timeline) == pytest.approx([0.25, 0.75, 1.25, 1.75], abs=0.06)
    reds = [picture.getpixel((32, 32))[0] for _, picture in timeline.frames]
    assert [red > 100 for red in reds] == [True, True, False, False]
    assert timeline.windows.end[-1] == pytest.approx(2, abs=0.11)
    np.testing.assert_allclose(timeline.windows.start, [0, 1], atol=0.01, rtol=0)
    scenes = read_timeline(build(n_frames=1, frames="scene"), video, 12)
    assert times(scenes) == pytest.approx([0.5, 1.5], abs=0.06)


def test_no_more_frames_are_kept_than_asked_for(build, video):
    every = read_timeline(build(n_frames=5), video, 100)
    few = read_timeline(build(n_frames=5), video, 3)
    assert len(every.frames) == 10
    assert times(few) == [times(every)[i] for i in (0, 4, 9)]


def test_sound_stands_at_its_time(build, video):
    timeline = read_timeline(build(image=False), video, 12)
    loud = np.flatnonzero(np.abs(timeline.waveform) > 0.1)
    assert loud[0] / timeline.rate == pytest.approx(1.0, abs=0.02)
    assert timeline.frames is None


def test_what_is_missing_is_empty_and_what_is_left_out_is_none(build):
    mute = read_timeline(build(), make_video(two_colors()), 12)
    assert len(mute.waveform) == 0
    assert len(mute.frames) == 8
    blind = read_timeline(build(), make_video(None, late_tone()), 12)
    assert blind.frames == []
    assert (
        read_timeline(build(sound=False), make_video(two_colors()), 2).waveform is None
    )
