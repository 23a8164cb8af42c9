"""Videos: one clock for pictures and sound, every container, broken files."""

import io
import pickle
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer as Same
from sklearn.utils.estimator_checks import check_estimator

from skmmrec.catalog import ItemCatalog
from skmmrec.encoders import (
    AudioEncoder,
    ContentError,
    EmbeddingCache,
    ImageEncoder,
    VideoEncoder,
    _clips as clips,
    _video_model,
    read_sound,
)
from skmmrec.encoders._clips import Span

from .conftest import tone

av = pytest.importorskip("av")

RED, BLUE = (200, 20, 20), (20, 20, 200)
RATE = 16_000


def solid(color, size=(64, 64)):
    return Image.new("RGB", size, color)


def make_video(
    pictures=None, sound=None, container="matroska", rotation=0, sound_at=0.0, pixel=1
):
    """Return a file's bytes: (seconds, picture) pairs, and samples at 16 kHz."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        streams = [None, None]
        if pictures is not None:
            streams[0] = out.add_stream("mpeg4", rate=1000)
            streams[0].width, streams[0].height = pictures[0][1].size
            streams[0].codec_context.time_base = Fraction(1, 1000)
            streams[0].codec_context.gop_size = 5
            streams[0].codec_context.sample_aspect_ratio = Fraction(pixel)
            if rotation:
                streams[0].set_display_rotation(rotation)
        if sound is not None:
            codec = "aac" if container == "mp4" else "pcm_s16le"
            streams[1] = out.add_stream(codec, rate=RATE, layout="mono")
        if streams[0]:
            for seconds, picture in pictures:
                frame = av.VideoFrame.from_image(picture)
                frame.pts, frame.time_base = round(seconds * 1000), Fraction(1, 1000)
                out.mux(streams[0].encode(frame))
        if streams[1]:
            samples = (sound * 32767).astype(np.int16)[None]
            for start in range(0, samples.shape[1], 1024):
                part = np.ascontiguousarray(samples[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(part, "s16", "mono")
                frame.sample_rate = RATE
                frame.pts = start + round(sound_at * RATE)
                frame.time_base = Fraction(1, RATE)
                out.mux(streams[1].encode(frame))
        for stream in filter(None, streams):
            out.mux(stream.encode(None))
    return buffer.getvalue()


def two_colors(change=1.0, seconds=2.0, step=0.1):
    times = np.arange(0, seconds, step).round(3)
    return [(t, solid(RED if t < change - 1e-6 else BLUE)) for t in times]


def late_tone(start=1.0, seconds=2.0):
    time = np.arange(round(seconds * RATE)) / RATE
    return np.where(time < start, 0, 0.5 * np.sin(2 * np.pi * 440 * time))


@pytest.fixture(scope="module")
def video():
    return make_video(two_colors(), late_tone())


@pytest.fixture
def build(image_model, sound_encoder):
    """Make a fitted encoder from a tiny image tower and an untrained sound network."""

    def fitted(**options):
        parts = {
            "image_encoder": ImageEncoder(image_model),
            "audio_encoder": AudioEncoder("MobileNetV1", pretrained=False),
        }
        return VideoEncoder(**{**parts, "window": 1.0, **options}).fit(["any"])

    return fitted


CUT = {
    container: make_video(two_colors(), late_tone(), container)
    for container in ("matroska", "mp4")
}


def colors(item, times):
    pictures = clips.frames_at(item, times)
    return ["red" if p.getpixel((32, 32))[0] > 100 else "blue" for p in pictures]


@pytest.mark.parametrize("container", ["matroska", "mp4", "avi"])
def test_pictures_and_sound_share_one_clock(container):
    data = make_video(two_colors(1.2), late_tone(0.7), container)
    extents = clips.find_extents(data, 60)
    assert extents.end == pytest.approx(2, abs=0.1)
    assert colors(data, [0.0, 0.95, 1.15, 1.25, 5.0]) == [*["red"] * 3, "blue", "blue"]
    waveform, rate = clips.read_waveform(data, Span(0, extents.end))
    loud = np.flatnonzero(np.abs(waveform) > 0.1)
    assert loud[0] / rate == pytest.approx(0.7, abs=0.02)


def test_channels_that_cancel_are_heard():
    from .sound_files import encoded_by_av

    time = np.arange(48_000) / 48_000
    sound = 0.5 * np.sin(2 * np.pi * 440 * time)
    stereo = np.column_stack([sound, -sound])
    data = encoded_by_av(stereo, "pcm_f32le", "matroska", 48_000)
    waveform, rate = clips.read_waveform(data, Span(0, 1))
    assert rate == 48_000
    np.testing.assert_allclose(waveform, sound, atol=1e-4, rtol=1e-4)


def test_sound_that_starts_late_stays_in_place():
    data = make_video(two_colors(), late_tone(0, 0.5), sound_at=1.25)
    extents = clips.find_extents(data, 60)
    assert extents.sound == pytest.approx((1.25, 1.75), abs=0.01)
    waveform, rate = clips.read_waveform(data, Span(0, extents.end))
    loud = np.flatnonzero(np.abs(waveform) > 0.1) / rate
    assert (loud[0], loud[-1]) == pytest.approx((1.25, 1.75), abs=0.01)


def test_a_variable_frame_rate_keeps_its_times():
    times = [0, 0.04, 0.5, 0.54, 0.58, 1.9]
    pictures = [(t, solid(RED if t < 0.55 else BLUE)) for t in times]
    assert colors(make_video(pictures), [0.3, 0.56, 0.6, 1.8]) == [
        *["red"] * 2,
        *["blue"] * 2,
    ]


def test_declared_rotation_is_applied():
    picture = solid(RED, (64, 32))
    picture.paste(BLUE, (32, 0, 64, 32))
    data = make_video([(0, picture), (0.5, picture)], container="mp4", rotation=90)
    (upright,) = clips.frames_at(data, [0.2])
    assert upright.size == (32, 64)
    top, bottom = upright.getpixel((16, 8)), upright.getpixel((16, 56))
    assert top[2] > 100 > top[0]
    assert bottom[0] > 100 > bottom[2]


@pytest.mark.parametrize("container", ["matroska", "mp4", "avi"])
@pytest.mark.parametrize("pixel", ["2", "64/45", "1/2"])
def test_pixels_that_are_not_square_are_shown_as_they_are_meant(container, pixel):
    picture, ratio = solid(RED, (64, 48)), float(Fraction(pixel))
    picture.paste(BLUE, (32, 0, 64, 48))
    data = make_video([(0, picture), (0.5, picture)], container=container, pixel=pixel)
    (shown,) = clips.frames_at(data, [0.2])
    width, height = shown.size
    assert width / height == pytest.approx(64 / 48 * ratio, abs=0.02)
    assert min(width - 64, height - 48) >= 0  # nothing is lost
    left, right = (shown.getpixel((x * width // 4, height // 2)) for x in (1, 3))
    assert left[0] > 100 > left[2]
    assert right[2] > 100 > right[0]


def test_pixels_of_a_turned_video_are_stretched_before_it_is_turned():
    picture = solid(RED, (64, 32))
    data = make_video(
        [(0, picture), (0.5, picture)], container="mp4", rotation=90, pixel=2
    )
    (shown,) = clips.frames_at(data, [0.2])
    assert shown.size == (32, 128)


def test_pixels_of_an_impossible_shape_are_taken_for_square():
    data = make_video(
        [(0, solid(RED, (64, 32))), (0.5, solid(RED, (64, 32)))], pixel=99
    )
    (shown,) = clips.frames_at(data, [0.2])
    assert shown.size == (64, 32)


def test_scene_changes_are_found_at_their_time(video):
    assert clips.scene_changes(video, 0.1, 60) == pytest.approx([1.0], abs=0.01)
    assert clips.scene_changes(video, 0.9, 60) == []
    assert clips.scene_changes(video, 0.1, 0.9) == []


def test_windows_carry_what_is_seen_and_heard_in_them(build, video):
    encoder = build(n_frames=2)
    (sequence,) = encoder.transform_windows([video])
    np.testing.assert_allclose(sequence.start, [0, 1], atol=0.01)
    np.testing.assert_allclose(sequence.end, [1, 2], atol=0.11)
    seen = encoder.image_encoder_.transform([*clips.frames_at(video, [0.5, 1.5])])
    waveform, rate = clips.read_waveform(video, Span(0, sequence.end[1]))
    heard = encoder.audio_encoder_.transform(
        [(waveform[:rate], rate), (waveform[rate:], rate)]
    )
    np.testing.assert_allclose(sequence.vectors[:, :12], seen, atol=0.02)
    np.testing.assert_allclose(sequence.vectors[:, 12:], heard, atol=1e-4)
    assert np.abs(heard[0] - heard[1]).max() > 0.005
    assert np.abs(seen[0] - seen[1]).max() > 0.05


def test_pooled_parts_are_means_over_time_of_unit_length(build, video):
    raw = build(normalize=False)
    (sequence,) = raw.transform_windows([video])
    pooled = raw.transform([video])
    expected = sequence.vectors.mean(axis=0)
    np.testing.assert_allclose(pooled[0], expected, atol=1e-3)
    scale = np.abs(expected[12:]).max()  # tiny without training
    assert np.ptp(sequence.sound, axis=0).max() > 0.05 * scale
    np.testing.assert_allclose(pooled[0, 12:], expected[12:], atol=1e-3 * scale)
    vector = build().transform([video])[0]
    for part in (vector[:12], vector[12:]):
        assert np.linalg.norm(part) == pytest.approx(1, abs=1e-5)


def test_scenes_weigh_by_their_seconds(build):
    data = make_video(two_colors(change=0.5, seconds=2.0))
    options = {"audio_encoder": "drop", "normalize": False, "window": 2.0}
    by_scene = build(frames="scene", n_frames=2, **options).transform([data])
    fine = build(n_frames=40, **options).transform([data])
    np.testing.assert_allclose(by_scene, fine, atol=0.02)
    longest = build(frames="scene", n_frames=1, **options).transform([data])
    (late,) = build(n_frames=1, **options).transform([make_video(two_colors(0))])
    np.testing.assert_allclose(longest[0], late, atol=0.05)


def test_frames_per_second_take_the_place_of_their_number(build, video):
    model = build(fps=4, window=1.5)._loaded_model()
    track = model.prepare(video).tracks[0]
    assert len(track.contents) == 6 + 2
    np.testing.assert_allclose(track.seconds.sum(axis=1), [1.5, 0.5], atol=0.11)


def test_a_video_without_sound_or_pictures_lacks_that_part(build):
    mute, blind = make_video(two_colors()), make_video(None, late_tone())
    vectors = build().transform([mute, blind])
    assert vectors[0, :12].any()
    assert not vectors[0, 12:].any()
    assert not vectors[1, :12].any()
    assert vectors[1, 12:].any()
    marked = build(missing="nan").transform([mute, None])
    assert np.isnan(marked[0, 12:]).all()
    assert not np.isnan(marked[0, :12]).any()
    assert np.isnan(marked[1]).all()


@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_a_sound_track_of_silence_is_no_sound_beside_pictures(build, container):
    silence = np.zeros(2 * RATE)
    mute = make_video(two_colors(), silence, container)
    encoder = build()
    vector, bare = encoder.transform([mute, make_video(two_colors())])
    np.testing.assert_allclose(vector[:12], bare[:12], atol=0.01, rtol=0.01)
    assert not vector[12:].any()
    hiss = np.where(np.arange(2 * RATE) % 2, 2e-4, -2e-4)
    quiet = make_video(two_colors(), hiss)
    assert encoder.transform([quiet])[0, 12:].any()
    alone = build(image_encoder="drop")
    assert alone.transform([mute]).any()  # there is nothing else


def test_parts_are_the_columns_of_pictures_and_sound(build, video):
    both, drop = build(), build(audio_encoder="drop")
    assert {name: len(places) for name, places in both.parts_.items()} == {
        "image": 12,
        "sound": 1024,
    }
    assert list(drop.parts_) == ["image"]
    reduced = clone(both).set_params(n_components=1)
    assert reduced.fit([video, make_video(two_colors())]).parts_ == {}
    with pytest.raises(NotFittedError):
        VideoEncoder().parts_  # noqa: B018 - raises
    wide = build(align="window", max_duration=3.0)
    names = wide.get_feature_names_out()
    for part, places in wide.parts_.items():
        assert all(f"_{part}" in name for name in names[places])
    assert sum(map(len, wide.parts_.values())) == len(names)


def test_windows_tell_pictures_from_sound(build, video):
    sequence, missing = build().transform_windows([video, None])
    np.testing.assert_array_equal(sequence.image, sequence.vectors[:, :12])
    np.testing.assert_array_equal(sequence.sound, sequence.vectors[:, 12:])
    assert missing.image.shape == (0, 12)
    (heard,) = build(image_encoder="drop").transform_windows([video])
    assert heard.image.shape == (2, 0)
    np.testing.assert_array_equal(heard.sound, heard.vectors)


def test_pictures_and_sound_are_two_modalities_of_a_catalogue(build, monkeypatch):
    both = make_video(two_colors(), late_tone(0))
    mute, blind = make_video(two_colors(0.5)), make_video(None, late_tone(0))
    table = pd.DataFrame({"item_id": list("abcd"), "file": [both, mute, blind, None]})
    encoder = clone(build())
    catalog = ItemCatalog(
        table, make_column_transformer((encoder, ["file"])), on_empty="ignore"
    )
    with monkeypatch.context() as patch:
        opened = count_calls(patch, _video_model, "frames_at")
        heard = count_calls(patch, _video_model, "read_waveform")
        blocks = catalog.blocks
    assert (len(opened), len(heard)) == (2, 2)  # each stream of each video once
    assert blocks.widths == {"video_image": 12, "video_sound": 1024}
    assert blocks.mask.tolist() == [
        [True, True],
        [True, False],
        [False, True],
        [False, False],
    ]
    vectors = build().transform(table["file"])
    np.testing.assert_array_equal(blocks.values["video_image"], vectors[:, :12])
    np.testing.assert_array_equal(blocks.values["video_sound"], vectors[:, 12:])
    query = catalog.encode(table[["file"]])
    np.testing.assert_array_equal(query.mask, blocks.mask)
    again = pickle.loads(pickle.dumps(catalog))
    np.testing.assert_array_equal(again.encode(table[["file"]]).mask, blocks.mask)


def count_calls(patch, module, name):
    calls, original = [], getattr(module, name)

    def counted(*args):
        calls.append(args)
        return original(*args)

    patch.setattr(module, name, counted)
    return calls


@pytest.mark.parametrize(
    "wrap",
    [FrozenEstimator, lambda e: make_pipeline(Same(feature_names_out="one-to-one"), e)],
)
def test_parts_are_found_behind_a_wrapper(build, video, wrap):
    table = pd.DataFrame({"item_id": ["a"], "file": [video]})
    fitted = build().fit(table[["file"]])
    encoder = ColumnTransformer([("clip", wrap(fitted), ["file"])])
    assert ItemCatalog(table, encoder).blocks.modalities == ["clip_image", "clip_sound"]


def test_one_part_stays_one_modality(build, video):
    table = pd.DataFrame({"item_id": ["a"], "file": [video]})
    encoder = clone(build(image_encoder="drop"))
    catalog = ItemCatalog(table, make_column_transformer((encoder, ["file"])))
    assert catalog.blocks.modalities == ["video"]
    given = ItemCatalog(
        table,
        make_column_transformer((clone(build()), ["file"])),
        modalities={"all": slice(0, 1036)},
    )
    assert given.blocks.modalities == ["all"]


def test_a_transformer_with_the_name_of_a_part_is_refused(build, video):
    table = pd.DataFrame({"item_id": ["a"], "file": [video], "price": [1.0]})
    encoder = ColumnTransformer(
        [("v", clone(build()), ["file"]), ("v_image", "passthrough", ["price"])]
    )
    with pytest.raises(ValueError, match=r"'v_image' is a part of 'v'"):
        ItemCatalog(table, encoder).blocks  # noqa: B018 - raises


def test_windows_after_the_sound_lack_it(build):
    data = make_video(two_colors(), late_tone(0, 0.8))
    (sequence,) = build().transform_windows([data])
    assert sequence.vectors[:, 12:].any(axis=1).tolist() == [True, False]


def test_either_part_can_be_dropped(build, video):
    both = build().transform([video])
    seen = build(audio_encoder="drop")
    np.testing.assert_allclose(seen.transform([video]), both[:, :12], atol=1e-5)
    heard = build(image_encoder="drop")
    np.testing.assert_allclose(heard.transform([video]), both[:, 12:], atol=1e-5)
    assert list(seen.get_feature_names_out()[[0, -1]]) == [
        "videoencoder_image0",
        "videoencoder_image11",
    ]
    with pytest.raises(ValueError, match='both are "drop"'):
        build(image_encoder="drop", audio_encoder="drop")
    with pytest.raises(ValueError, match=r"row 0: contains no sound"):
        heard.transform([make_video(two_colors())])


def test_names_tell_pictures_from_sound(build, video):
    encoder = build().set_output(transform="pandas")
    table = encoder.transform(pd.Series([video, None], index=["a", "b"]))
    assert table.shape == (2, 12 + 1024)
    assert list(table.columns[[0, 11, 12, -1]]) == [
        "videoencoder_image0",
        "videoencoder_image11",
        "videoencoder_sound0",
        "videoencoder_sound1023",
    ]
    assert list(table.index) == ["a", "b"]
    assert not table.loc["b"].any()


def test_overlapping_windows_and_the_limit_of_duration(build, video):
    (overlapping,) = build(hop=0.5).transform_windows([video])
    np.testing.assert_allclose(overlapping.start[:3], [0, 0.5, 1], atol=1e-6)
    (short,) = build(max_duration=0.6).transform_windows([video])
    np.testing.assert_allclose(short.end, [0.6], atol=1e-6)
    with pytest.raises(ValueError, match=r"hop=2 is longer than window=1\.0"):
        build(hop=2)


def test_vectors_do_not_depend_on_their_batch(build, video):
    videos = [video, make_video(two_colors(0.5, 1.3)), make_video(None, late_tone(0))]
    encoder = build(batch_size=2)
    alone = np.vstack([encoder.transform([item]) for item in videos])
    np.testing.assert_allclose(encoder.transform(videos), alone, atol=1e-5)
    together = encoder.transform_windows([*videos, None, video])
    assert [len(sequence.start) for sequence in together] == [2, 2, 2, 0, 2]
    np.testing.assert_array_equal(together[0].vectors, together[4].vectors)


def test_a_video_is_found_in_the_cache_by_its_content(
    build, video, tmp_path, monkeypatch
):
    path = tmp_path / "a.mkv"
    path.write_bytes(video)
    encoder = build(cache=tmp_path / "cache")
    first = encoder.transform([path, str(path)])
    assert EmbeddingCache(tmp_path / "cache").info().n_vectors == 1
    monkeypatch.setattr(clips, "opened", None)
    path.rename(tmp_path / "b.mkv")
    np.testing.assert_array_equal(encoder.transform([tmp_path / "b.mkv"]), first[:1])


def test_sequences_are_found_in_the_cache(build, video, tmp_path, monkeypatch):
    encoder = build(cache=tmp_path)
    pooled = encoder.transform([video])
    (first,) = encoder.transform_windows([video])
    assert EmbeddingCache(tmp_path).info().n_vectors == 2
    monkeypatch.setattr(clips, "opened", None)
    (again, none) = encoder.transform_windows([video, None])
    for stored, fresh in zip(again, first, strict=True):
        np.testing.assert_array_equal(stored, fresh)
    assert len(none.start) == 0
    np.testing.assert_array_equal(encoder.transform([video]), pooled)


def test_windows_can_lie_side_by_side(build, video):
    short = make_video(two_colors(), late_tone(0, 0.8))
    options = {"max_duration": 3.0, "missing": "nan"}
    encoder = build(align="window", **options)
    vectors = encoder.transform([video, None, short])
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, encoder.embedding_dim_) == (3, 3 * (12 + 1024))
    windows = vectors.reshape(3, 3, -1)
    sequences = build(**options).transform_windows([video, short])
    for row, sequence in zip([0, 2], sequences, strict=True):
        np.testing.assert_allclose(windows[row, :2], sequence.vectors, atol=1e-5)
        assert np.isnan(windows[row, 2]).all()
    assert np.isnan(windows[1]).all()
    assert np.isnan(windows[2, 1, 12:]).all()  # the sound has ended
    names = encoder.get_feature_names_out()
    assert len(names) == vectors.shape[1]
    assert names[0] == "videoencoder_window0_image0"
    assert names[-1] == "videoencoder_window2_sound1023"
    table = encoder.set_output(transform="polars").transform([video])
    assert table.columns == names.tolist()


def test_pooled_videos_can_be_reduced(build):
    videos = [make_video(two_colors(t, 1.0)) for t in (0.2, 0.5, 0.8)]
    videos += [make_video(two_colors(0.4, 1.0), late_tone(0, 1.0))]
    for missing in ("zero", "nan"):
        encoder = build(missing=missing).set_params(n_components=2)
        vectors = encoder.fit_transform([*videos, None])
        assert vectors.shape == (5, 2)
        np.testing.assert_allclose(np.linalg.norm(vectors[:4], axis=1), 1, atol=1e-5)
        assert np.isnan(vectors[4]).all() == (missing == "nan")
        again = encoder.transform([*videos, None])
        np.testing.assert_allclose(again, vectors, atol=1e-5)
        assert list(encoder.get_feature_names_out()) == [
            "videoencoder0",
            "videoencoder1",
        ]
    with pytest.raises(ValueError, match=r"n_components=2\) reduces pooled vectors"):
        build(n_components=2, align="window")


def test_the_cache_tells_samplings_apart(build, video, tmp_path):
    options = {"cache": str(tmp_path), "audio_encoder": "drop", "normalize": False}
    one = build(n_frames=1, window=2.0, **options).transform([video])
    many = build(n_frames=4, window=2.0, **options).transform([video])
    assert not np.allclose(one, many, atol=1e-3)


def test_a_pickle_and_a_clone_need_no_weights(build, video):
    encoder = build()
    vectors = encoder.transform([video])
    data = pickle.dumps(encoder)
    assert len(data) < 20_000
    np.testing.assert_array_equal(pickle.loads(data).transform([video]), vectors)
    np.testing.assert_array_equal(clone(encoder).fit_transform([video]), vectors)
    nested = clone(encoder).set_params(image_encoder__batch_size=3)
    assert nested.image_encoder.batch_size == 3
    assert encoder.image_encoder.batch_size == "auto"


@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_scikit_learn_checks_pass(image_model):
    sound = AudioEncoder("MobileNetV1", pretrained=False)
    encoder = VideoEncoder(ImageEncoder(image_model), sound)
    check_estimator(encoder, on_skip=None)


def test_reduced_encoders_are_refused(image_model):
    reduced = ImageEncoder(image_model, n_components=2)
    with pytest.raises(ValueError, match=r"image_encoder\.n_components must be None"):
        VideoEncoder(reduced, "drop").fit(["any"])


@pytest.mark.parametrize(
    ("name", "value"),
    [("window", 0.5), ("n_frames", 0), ("frames", "all"), ("image_encoder", "keep")],
)
def test_a_wrong_parameter_is_named(name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of VideoEncoder"):
        VideoEncoder(**{"audio_encoder": "drop", name: value}).fit(["any"])


def broken_items(folder):
    """Return broken items with the reason that their error gives."""
    good, mp4 = (
        make_video(two_colors(), late_tone()),
        make_video(two_colors(), late_tone(), "mp4"),
    )
    (folder / "text.mp4").write_text("this is a text file")
    (folder / "empty.mp4").touch()
    (folder / "cut.mkv").write_bytes(good[: len(good) // 2])
    (folder / "cut.mp4").write_bytes(mp4[: len(mp4) // 2])
    segment = folder / "segment.ts"
    segment.write_bytes(make_video(two_colors(), container="mpegts"))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{segment.as_uri()}\n"
    (folder / "list.m3u8").write_text(playlist + "#EXT-X-ENDLIST\n")
    return [
        (folder / "text.mp4", "not a readable video: it is text"),
        (folder / "empty.mp4", "empty file"),
        (folder / "cut.mkv", "is cut off: it declares 2"),
        (folder / "cut.mp4", "not a readable video: it is cut off at"),
        (folder / "list.m3u8", "not a readable video"),
        (folder / "absent.mp4", "no such file"),
        ("https://example.org/a.mp4", "is a URL"),
        (b"", "not a readable video: it is empty"),
        (7, "expected a path or bytes"),
    ]


@pytest.mark.parametrize("index", range(9))
def test_a_broken_video_names_its_row_and_file(build, tmp_path, index):
    item, reason = broken_items(tmp_path)[index]
    with pytest.raises(ValueError, match=reason) as caught:
        build().transform([None, item])
    assert str(caught.value).startswith("VideoEncoder: row 1")
    assert str(getattr(item, "name", "")) in str(caught.value)


def test_broken_videos_can_be_missing_and_the_rest_is_kept(build, tmp_path, video):
    broken = [item for item, _ in broken_items(tmp_path)]
    lenient = build(on_error="missing")
    with pytest.warns(UserWarning, match="9 of 10 rows could not be read"):
        vectors = lenient.transform([*broken, video])
    assert not vectors[:-1].any()
    assert vectors[-1].any()
    with pytest.warns(UserWarning, match="1 of 1 rows"):
        assert len(lenient.transform_windows([broken[0]])[0].vectors) == 0


def test_a_short_rest_joins_the_last_window(build):
    windows = build(window=1.0, hop=0.5)._sampling().windows
    assert windows(0.3) == [(0, 0.3)]
    assert windows(1.05) == [(0, 1.05)]
    assert windows(1.7) == [(0, 1), (0.5, 1.5), (1.0, 1.7)]


def test_each_distinct_video_is_decoded_once(build, video, monkeypatch):
    decoded = []
    find = clips.find_extents
    monkeypatch.setattr(
        _video_model, "find_extents", lambda *args: decoded.append(1) or find(*args)
    )
    vectors = build(audio_encoder="drop").transform([video] * 5 + [None])
    assert len(decoded) == 1
    np.testing.assert_array_equal(vectors[:5], vectors[[0] * 5])


@pytest.mark.parametrize("container", ["matroska", "mp4"])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7])
def test_a_file_cut_anywhere_is_refused(container, share):
    data = make_video(two_colors(), late_tone(), container)
    with pytest.raises(clips.ContentError):
        clips.find_extents(data[: int(share * len(data))], 60)


@pytest.mark.parametrize("container", ["matroska", "mp4", "avi", "mpegts"])
def test_damaged_bytes_are_read_or_refused(container):
    """Nothing but a `ContentError` comes out of a damaged file."""
    data = make_video(two_colors(step=0.2), late_tone(), container)
    rng = np.random.default_rng(0)
    for length in rng.integers(0, len(data), 25):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[rng.integers(0, len(data), 20)] = rng.integers(0, 256, 20)
        for item in (data[:length], damaged.tobytes()):
            with suppress(clips.ContentError):
                read_all(item)


def read_all(item):
    extents = clips.find_extents(item, 10)
    if extents.frames:
        assert len([*clips.frames_at(item, [0.5, 1.5])]) == 2
        clips.scene_changes(item, 0.1, 10)
    if extents.sound:
        waveform, _ = clips.read_waveform(item, Span(0, extents.end))
        assert waveform.dtype == np.float32


@settings(max_examples=25, database=None)
@given(container=st.sampled_from(["matroska", "mp4"]), share=st.floats(0, 1))
def test_a_file_cut_at_any_byte_is_refused_or_nearly_whole(container, share):
    data = CUT[container]
    try:
        end = clips.find_extents(data[: int(share * len(data))], 60).end
    except clips.ContentError:
        assert share < 1
    else:
        assert end > 1.45  # of 2 seconds: half a second may be rounding


def test_an_unknown_codec_and_a_huge_picture_are_refused(video, monkeypatch):
    strange = video.replace(b"V_MPEG4/ISO/ASP", b"V_XPEG4/ISO/ASP")
    with pytest.raises(clips.ContentError, match="stream of video of an unknown codec"):
        clips.find_extents(strange, 60)
    monkeypatch.setattr(clips, "MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(clips.ContentError, match="declares 64 x 64 pixels"):
        clips.find_extents(video, 60)


def test_a_cover_is_no_video():
    """A song with a cover has one picture, which is not shown over time."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as out:
        sound = out.add_stream("flac", rate=RATE, layout="mono")
        cover = out.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        out.mux(cover.encode(av.VideoFrame.from_image(solid(RED))))
        out.mux(cover.encode(None))
        samples = (late_tone(0) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples[:, :4096].copy(), "s16", "mono")
        frame.sample_rate = RATE
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    extents = clips.find_extents(buffer.getvalue(), 60)
    assert extents.frames is None
    assert extents.sound is not None


def test_a_missing_library_is_named(monkeypatch, video):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ImportError, match=r"skmmrec\[video\]"):
        clips.find_extents(video, 60)


@pytest.mark.parametrize("container", ["matroska", "mp4", "mpegts", "nut"])
@pytest.mark.parametrize("start", [0.0, 0.5, 3.0, 100.0, 5000.0])
def test_a_clock_that_starts_late_does_not_make_a_file_cut_off(container, start):
    """As in a part of a longer recording, whose times were kept."""
    late = [(start + seconds, picture) for seconds, picture in two_colors()]
    extents = clips.find_extents(make_video(late, container=container), 300)
    assert extents.frames.start == pytest.approx(0.0, abs=0.05, rel=1e-3)
    assert extents.end == pytest.approx(2.0, abs=0.25, rel=1e-3)


@pytest.mark.parametrize("start", [0.0, 3.0, 5000.0])
def test_a_sound_alone_may_start_late(start):
    samples, _ = tone(440, 2.0)
    data = make_video(None, samples, sound_at=start)
    assert len(read_sound(data, RATE)) == pytest.approx(len(samples), abs=RATE // 10)
    if not start:
        with pytest.raises(ContentError, match="cut off"):
            read_sound(data[: len(data) // 2], RATE)
