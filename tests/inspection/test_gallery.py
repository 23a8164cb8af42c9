"""The gallery shows the right items, pictures and bars."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer

from skmmrec import ImageEncoder, ItemCatalog, MultimodalFusionRecommender
from skmmrec.datasets import make_multimodal_interactions
from skmmrec.inspection import RecommendationGalleryDisplay, _fonts
from skmmrec.inspection._pictures import open_picture
from skmmrec.inspection._text_fit import fit_text, text_width
from skmmrec.recommender import Training

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")

FROM = RecommendationGalleryDisplay.from_recommendations
FROM_ESTIMATOR = RecommendationGalleryDisplay.from_estimator


@pytest.fixture(scope="module")
def data():
    return make_multimodal_interactions(
        6, 12, modalities=["text", "image"], image_size=32, random_state=0
    )


@pytest.fixture(scope="module")
def recommendations():
    return pd.DataFrame(
        {
            "user_id": ["user-0002"] * 3 + ["user-0001"],
            "item_id": ["item-0003", "item-0001", "item-0002", "item-0004"],
            "rank": [2, 1, 3, 1],
            "score": [1.5, 2.25, 0.5, 9.0],
        }
    )


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def drawn_text(display):
    return [text.get_text() for text in display.ax_.texts]


def test_shows_one_user_best_first_and_latest_first(data, recommendations):
    display = FROM(
        recommendations,
        data.item_table,
        user="user-0002",
        history=data.interactions,
        n_history=4,
    )
    assert display.recommendations.item_id.tolist() == [
        "item-0001",
        "item-0003",
        "item-0002",
    ]
    met = data.interactions[data.interactions.user_id == "user-0002"]
    expected = met.sort_values("timestamp").item_id[::-1][:4].tolist()
    assert display.history.item_id.tolist() == expected
    text = drawn_text(display)
    assert "Latest items of user-0002" in text
    assert "Recommended to user-0002" in text
    assert "1.   score 2.25" in text
    assert len(display.ax_.images) == 7


def test_shares_follow_the_items_and_sum_to_one(data, recommendations):
    shares = pd.DataFrame({"text": [1, 3, 0, 5], "image": [1, 1, 2, 5]})
    display = FROM(recommendations, data.item_table, user="user-0002", shares=shares)
    np.testing.assert_allclose(display.shares.text, [0.75, 0.5, 0.0], atol=1e-9)
    np.testing.assert_allclose(display.shares.sum(axis=1), 1, atol=1e-9)
    assert display.plot(colors=["red", "blue"]) is display
    assert {"text", "image"} <= set(drawn_text(display))
    bars = [p for p in display.ax_.patches if isinstance(p, plt.Rectangle)]
    widths = np.array([bar.get_width() for bar in bars]).reshape(3, 2)
    np.testing.assert_allclose(
        widths / widths.sum(axis=1, keepdims=True), display.shares, atol=1e-9
    )


def test_a_missing_picture_becomes_a_box_with_the_title(data, recommendations):
    items = data.item_table.copy()
    items.loc[0, "image"] = None
    items.loc[1, "title"] = None
    display = FROM(recommendations, items, user="user-0002")
    assert len(display.ax_.images) == 2
    assert "item-0002" in drawn_text(display)
    words = " ".join(drawn_text(display))
    assert items.title[0].split()[0] in words


def test_pictures_come_in_any_form(data, recommendations, tmp_path):
    from PIL import Image

    path = tmp_path / "red.png"
    Image.new("RGB", (8, 12), "red").save(path)
    forms = [
        str(path),
        path,
        path.read_bytes(),
        Image.new("L", (4, 4)),
        Image.new("RGBA", (4, 4), (0, 0, 0, 0)),
        np.zeros((5, 5), dtype=np.uint8),
        np.ones((5, 5, 3)),
        float("nan"),
    ]
    items = pd.DataFrame({"item_id": range(8), "title": "t"})
    items["image"] = pd.Series(forms, dtype=object)
    display = FROM(range(8), items, n_columns=3)
    assert len(display.ax_.images) == 7
    transparent = display.ax_.images[4].get_array()
    assert (np.asarray(transparent) == 255).all()


def test_a_fitted_recommender_shows_itself(fitted, truth):
    user = truth.users.user_id[4]
    display = FROM_ESTIMATOR(fitted, user, items=truth.item_table, k=4, n_history=3)
    ranked = fitted.recommend([user], k=4)
    assert display.recommendations.item_id.tolist() == ranked.item_id.tolist()
    met = truth.interactions.item_id[truth.interactions.user_id == user]
    assert display.history.item_id.tolist() == met.tolist()[::-1][:3]
    assert list(display.shares) == ["text", "image", "audio"]
    stranger = FROM_ESTIMATOR(fitted, "stranger", items=truth.item_table)
    assert not len(stranger.history)
    bare = FROM_ESTIMATOR(fitted, user, k=4)
    assert bare.recommendations.title.tolist() == ranked.item_id.tolist()
    assert not bare.ax_.images


def test_columns_are_found_by_names_in_capitals_and_by_what_encoders_read(data):
    names = {"title": "Title", "description": "Words", "image": "Photo File"}
    items = data.item_table.rename(columns=names)
    encode = make_column_transformer(
        (TfidfVectorizer(), "Words"),
        (
            ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0"),
            "Photo File",
        ),
    )
    rec = MultimodalFusionRecommender(
        ItemCatalog(items, encode), training=Training(max_epochs=1), random_state=0
    ).fit(data.interactions[["user_id", "item_id"]])
    shown = FROM_ESTIMATOR(rec, "stranger", k=3).recommendations
    titles = items.set_index("item_id")["Title"]
    assert shown["title"].tolist() == titles[shown["item_id"]].tolist()
    assert shown["picture"].notna().all()
    assert (
        "picture" not in FROM_ESTIMATOR(rec, "stranger", picture=None).recommendations
    )


def test_ids_can_be_the_titles(fitted, truth):
    user = truth.users.user_id[4]
    display = FROM_ESTIMATOR(fitted, user, items=truth.item_table, k=4, title="item_id")
    shown = display.recommendations
    assert shown.title.tolist() == fitted.recommend([user], k=4).item_id.tolist()


def test_draws_on_given_axes_at_their_scale(data, recommendations):
    figure, (_, ax) = plt.subplots(1, 2, figsize=(4, 2))
    display = FROM(recommendations, data.item_table, user="user-0002", ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    own = FROM(recommendations, data.item_table, user="user-0002")
    assert ax.texts[0].get_fontsize() < own.ax_.texts[0].get_fontsize()


@pytest.mark.parametrize("title", ["A" * 80, "word " * 30, "Ünïcode $x^2$ title_", ""])
def test_no_text_leaves_its_cell(title):
    items = pd.DataFrame({"item_id": [0, 1], "title": title})
    items["image"] = pd.Series([None, np.ones((4, 4))], dtype=object)
    display = FROM([0, 1], items)
    renderer = display.figure_.canvas.get_renderer()
    boxes = [t.get_window_extent(renderer) for t in display.ax_.texts if t.get_text()]
    dots = display.figure_.dpi
    assert all(box.x0 >= 0 and box.x1 <= display.ax_.bbox.x1 for box in boxes)
    assert all(box.width < 1.4 * dots for box in boxes[1:])
    for one, box in enumerate(boxes):
        for other in boxes[one + 1 :]:
            assert not _overlap(box, other)


def _overlap(a, b):
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return width > 1 and height > 3


def test_text_is_cut_with_an_ellipsis_only_where_needed():
    assert fit_text("short", 10, 100, 2) == ["short"]
    lines = fit_text("one two three four five six seven", 10, 60, 2)
    assert len(lines) == 2
    assert lines[-1].endswith("…")
    assert all(text_width(line, 10) <= 60 for line in lines)
    assert fit_text("exactly two", 10, text_width("exactly", 10), 2) == [
        "exactly",
        "two",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "recommendations are of 2 users: name one"),
        ({"user": "nobody"}, "no row of user 'nobody'"),
        ({"user": "user-0001", "title": "name"}, "items has no column 'name'"),
        ({"user": "user-0001", "history": ["item-0099"]}, "no row for 'item-0099'"),
        ({"user": "user-0001", "key": "sku"}, "no column 'sku'; .* ids by key="),
        ({"user": "user-0001", "sound": "song"}, "items has no column 'song'"),
        ({"user": "user-0001", "on_error": "skip"}, "on_error must be"),
        ({"user": "user-0001", "n_frames": 0}, "n_frames must be at least 1"),
        ({"user": "user-0001", "shares": [[1.0]]}, "shares has 1 rows"),
        (
            {"user": "user-0001", "shares": [[1.0], [1.0], [1.0], [-1.0]]},
            "shares of item 'item-0004' must be finite",
        ),
    ],
)
def test_bad_arguments_are_named(data, recommendations, arguments, message):
    with pytest.raises(ValueError, match=message):
        FROM(recommendations, data.item_table, **arguments)


def test_a_picture_that_cannot_be_read_names_the_item(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_text("not a picture")
    items = pd.DataFrame({"item_id": ["a"], "title": "t", "image": [str(broken)]})
    with pytest.raises(ValueError, match=r"item 'a': cannot read .*broken.png"):
        FROM(["a"], items, on_error="raise")
    items["image"] = str(tmp_path / "absent.png")
    with pytest.raises(FileNotFoundError, match=r"item 'a': no file .*absent.png"):
        FROM(["a"], items, on_error="raise")
    items["image"] = pd.Series([np.full((2, 2), 7.0)], dtype=object)
    with pytest.raises(ValueError, match="between 0 and 1"):
        FROM(["a"], items, on_error="raise")


def test_importing_the_display_does_not_import_matplotlib():
    code = (
        "import sys; from skmmrec.inspection import RecommendationGalleryDisplay;"
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pictures_are_shown_as_encoders_see_them(tmp_path):
    from PIL import Image

    grey = np.kron([[0, 4000], [2000, 1000]], np.ones((4, 2))).astype(np.uint16)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(grey).save(tmp_path / "deep.png")
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=turned)
    deep = np.asarray(open_picture(tmp_path / "deep.png", "deep"))
    np.testing.assert_array_equal(deep, np.repeat((grey >> 4)[..., None], 3, axis=2))
    assert open_picture(str(tmp_path / "turned.jpg"), "turned").size == (4, 8)


SOUND = (np.sin(np.arange(4000.0)).astype(np.float32), 8000)


def gallery_of(n=1, **columns):
    table = pd.DataFrame({"item_id": range(n)})
    for name, values in columns.items():
        table[name] = pd.Series(values, dtype=object)
    return FROM(range(n), table)


def bars_of(display):
    """Heights of the bars of all sounds."""
    return [
        np.ptp([path.vertices[:, 1] for path in bars.get_paths()], axis=1)
        for bars in display.ax_.collections
    ]


def test_without_media_there_are_cards_of_words():
    display = gallery_of(2, title=["Up", None], description=["A house flies.", "?"])
    assert not display.ax_.images
    assert drawn_text(display) == ["Recommended", "Up", "A house flies.", "1", "?"]
    assert drawn_text(gallery_of()) == ["Recommended", "0"]


def test_columns_of_other_names_are_not_passed_over_in_silence():
    table = pd.DataFrame({"item_id": [0], "file": ["a.mp4"], "caption": ["A wave"]})
    with pytest.warns(UserWarning, match=r"\['file', 'caption'\] are title=") as caught:
        FROM([0], table)
    assert caught[0].filename == __file__
    assert "A wave" in drawn_text(FROM([0], table, title="caption"))


def test_a_sound_is_drawn_by_its_outline():
    loud_later = np.linspace(0, 1, 4000) * SOUND[0]
    display = gallery_of(2, audio=[(loud_later, 8000), (SOUND[0] * 1e-6, 8000)])
    rising, silent = bars_of(display)
    assert (np.diff(rising[1:]) > 0).all()
    np.testing.assert_allclose(silent, silent[0], atol=1e-6, rtol=1e-6)
    assert silent[0] < rising[-1] / 10
    (short,) = bars_of(gallery_of(audio=[(np.ones(1, np.float32), 8000)]))
    assert len(short) == 1


@pytest.mark.parametrize("n_frames", [1, 2, 4])
def test_frames_stand_for_a_video(n_frames, tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for level in range(0, 240, 12):
            pixels = np.full((32, 32, 3), level, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    for video in (str(path), path.read_bytes()):
        table = pd.DataFrame({"item_id": [0], "video": pd.Series([video])})
        (image,) = FROM([0], table, n_frames=n_frames).ax_.images
        levels = np.asarray(image.get_array())[..., 0]
        greys = np.unique(levels[levels < 250] // 16)
        assert len(greys) >= n_frames


def test_a_video_without_pictures_is_drawn_by_its_sound(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000, layout="mono")
        tone = (np.sin(np.arange(8000)) * 20_000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    display = FROM([0], pd.DataFrame({"item_id": [0], "video": [str(path)]}))
    assert not display.ax_.images
    (bars,) = bars_of(display)
    assert (bars > 0).all()


def test_what_cannot_be_read_is_told_once_and_something_else_is_shown(tmp_path):
    broken = str(tmp_path / "absent.png")
    with pytest.warns(UserWarning, match=r"of 2 of 3 items .* item 0: no file") as told:
        display = gallery_of(3, image=[broken, broken, None], audio=[SOUND, None, None])
    assert len(told) == 1
    assert len(bars_of(display)) == 1
    assert "(cannot be read)" in drawn_text(display)


@pytest.mark.parametrize("column", ["audio", "video"])
def test_other_media_that_cannot_be_read_name_the_item(column):
    items = pd.DataFrame({"item_id": ["a"], column: [b"nothing that could be read"]})
    name = {"audio": "sound"}.get(column, column)
    with pytest.raises(ValueError, match=f"{name} of item 'a': "):
        FROM(["a"], items, on_error="raise")


@pytest.mark.parametrize("n", [1, 100])
def test_any_number_of_items_has_its_place(n):
    display = gallery_of(n, title=[f"title {i}" for i in range(n)])
    assert len(display.ax_.texts) == n + 1
    tops = [text.get_position()[1] for text in display.ax_.texts]
    assert max(tops) < display.ax_.get_ylim()[0]


def test_a_column_may_be_left_out():
    table = pd.DataFrame({"item_id": [0], "image": pd.Series([np.ones((4, 4))])})
    assert FROM([0], table).ax_.images
    assert not FROM([0], table, picture=None).ax_.images


@pytest.fixture
def no_other_fonts(monkeypatch):
    """Only what matplotlib brings is there, as on a machine without fonts."""
    monkeypatch.setattr(_fonts, "_others", list)
    _fonts._family_of.cache_clear()
    yield
    _fonts._family_of.cache_clear()


@pytest.mark.usefixtures("no_other_fonts")
def test_letters_that_no_font_has_are_boxes_without_a_warning():
    display = gallery_of(3, title=["海上的風暴", "Storm 海", "a\x00b"])
    display.figure_.canvas.draw()
    assert drawn_text(display)[1:] == ["0", "Storm □", "a b"]


def test_a_font_that_has_the_letters_is_found(monkeypatch):
    path = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "STIXGeneral.ttf"))
    own = matplotlib.font_manager.findfont("DejaVu Sans")
    code = np.setdiff1d(_fonts._codes(path), _fonts._codes(own))[-1]
    monkeypatch.setattr(_fonts, "_others", lambda: ["/absent.ttf", path])
    _fonts._family_of.cache_clear()
    letter = chr(code)
    assert _fonts.drawable(letter) == letter
    assert _fonts.families_for(letter)[-1] == "STIXGeneral"
    assert text_width(letter, 10) > 0
    gallery_of(title=[letter]).figure_.canvas.draw()
    _fonts._family_of.cache_clear()
