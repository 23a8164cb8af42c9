"""The generated feed keeps what it promises."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skmmrec.datasets import make_social_feed


@pytest.fixture(scope="module")
def data():
    return make_social_feed(80, 20, n_hours=48, random_state=0)


@pytest.fixture(scope="module")
def met(data):
    """Likes with the post, the author and the user."""
    return (
        data.interactions.merge(data.item_table, on="item_id", suffixes=("", "_posted"))
        .merge(data.authors.drop(columns="language"), on="author_id")
        .merge(data.users, on="user_id", suffixes=("", "_of_user"))
    )


def test_same_seed_gives_the_same_bytes(data):
    again = make_social_feed(80, 20, n_hours=48, random_state=0)
    for table in ("item_table", "interactions", "users", "authors", "item_attributes"):
        pd.testing.assert_frame_equal(data[table], again[table])
    other = make_social_feed(80, 20, n_hours=48, random_state=1)
    assert not data.item_table.text.equals(other.item_table.text)


def test_likes_come_after_the_post_and_within_a_day(data, met):
    age = met.timestamp - met.timestamp_posted
    assert (age > pd.Timedelta(0)).all()
    assert (age < pd.Timedelta(hours=25)).all()
    assert (met.timestamp >= met.joined).all()
    assert not data.interactions.duplicated(["user_id", "item_id"]).any()
    assert data.interactions.timestamp.is_monotonic_increasing
    assert data.item_table.timestamp.is_monotonic_increasing


def test_users_like_what_they_can_read_and_posts_are_in_two_scripts(data, met):
    assert set(data.users.reads) == {"en", "zh", "both"}
    assert ((met.reads == "both") | (met.reads == met.language)).all()
    is_han = data.item_table.text.str.contains("[\u4e00-\u9fff]")
    assert (is_han == (data.item_table.language == "zh")).all()
    # Templates with words in them: most posts occur once.
    assert data.item_table.text.nunique() > 0.9 * len(data.item_table)


@pytest.mark.parametrize("strengths", [(60, 0), (0, 60)])
def test_what_cannot_be_read_is_never_liked_however_strong_the_taste(strengths):
    options = dict(
        zip(("taste_strength", "popularity_strength"), strengths, strict=True)
    )
    feed = make_social_feed(
        40, 12, n_hours=36, picture_rate=0, random_state=0, **options
    )
    likes = feed.interactions.merge(feed.item_table, on="item_id")
    likes = likes.merge(feed.users, on="user_id")
    assert ((likes.reads == "both") | (likes.reads == likes.language)).all()
    assert len(likes) > 100


def test_every_other_post_has_a_picture(data):
    pictures = data.item_table.image
    assert pictures.notna().mean() == pytest.approx(0.5, abs=0.1, rel=0)
    with Image.open(io.BytesIO(pictures.dropna().iloc[0])) as picture:
        assert (picture.format, picture.size) == ("PNG", (96, 96))
    without = make_social_feed(10, 4, n_hours=24, picture_rate=0, random_state=0)
    assert without.item_table.image.isna().all()


def test_the_established_are_liked_more_than_they_post(data, met):
    posted = data.item_table.merge(data.authors, on="author_id").group
    share = (posted == "established").mean()
    assert (met.group == "established").mean() > share + 0.05


@pytest.mark.parametrize("modality", ["text", "image"])
def test_likes_follow_both_words_and_pictures(data, met, modality):
    users, posts = data.users.user_id, data.item_table.item_id
    part = data.affinity.by_modality(users, posts)[modality]
    part = pd.DataFrame(part, index=users, columns=posts)
    liked = part.stack()[pd.MultiIndex.from_frame(met[["user_id", "item_id"]])]
    assert liked.mean() > part.to_numpy().mean() + 0.1


def test_a_picture_that_is_not_there_adds_no_affinity(data):
    blank = data.item_table.item_id[data.item_table.image.isna()]
    assert not data.affinity.by_modality(items=blank)["image"].any()


def test_without_taste_likes_say_nothing_of_affinity():
    options = {"n_hours": 48, "chinese_share": 0, "random_state": 0}
    scores = {}
    for strength in (0.0, 4.0):
        data = make_social_feed(60, 20, taste_strength=strength, **options)
        relevant = np.zeros((60, len(data.item_table)))
        rows = data.affinity.leans.index.get_indexer(data.interactions.user_id)
        columns = data.affinity.items.get_indexer(data.interactions.item_id)
        relevant[rows, columns] = 1
        order = np.argsort(-data.affinity(), axis=1)[:, :10]
        scores[strength] = np.take_along_axis(relevant, order, axis=1).mean()
    assert scores[4.0] > 2 * scores[0.0]


def test_the_hours_are_busy_in_the_evening(data):
    hour = data.item_table.timestamp.dt.hour
    assert hour.between(17, 23).sum() > 1.5 * hour.between(5, 11).sum()


def test_users_come_in_the_course_of_the_feed(data):
    first = data.users.joined.min()
    assert 0.1 < (data.users.joined > first).mean() < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_hours": 1}, "n_hours"),
        ({"n_authors": 1}, "n_authors"),
        ({"chinese_share": 1.5}, "chinese_share"),
        ({"n_hours": 2, "n_posts_per_hour": 1e-9}, "raise n_posts_per_hour"),
    ],
)
def test_what_makes_no_feed_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        make_social_feed(4, **({"n_authors": 2} | options))


def test_a_feed_may_have_no_likes():
    data = make_social_feed(2, 2, n_hours=2, n_likes_per_day=1e-9, random_state=0)
    assert list(data.interactions) == ["user_id", "item_id", "timestamp"]
    assert data.interactions.timestamp.dtype.kind == "M"
    assert len(data.interactions) == 0
