"""Taking a modality away costs what it is worth."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.inspection import ModalityAblationDisplay
from skmmrec.metrics import evaluate_ranking
from skmmrec.model_selection import RandomHoldoutPerUser
from skmmrec.recommender import Training

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")

FROM = ModalityAblationDisplay.from_estimator


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def held_out(fitted):
    """Third places of lists, rated 1 to 5: nobody has met them."""
    third = fitted.recommend(k=3).iloc[2::3]
    ratings = np.resize(np.arange(1, 6), len(third))
    return third[["user_id", "item_id"]].assign(rating=ratings)


def test_rows_are_what_is_left(fitted, held_out):
    held_out = held_out.drop(columns="rating")
    before = fitted.item_vectors_.copy()
    display = FROM(fitted, held_out, random_state=0)
    assert display.values.index.tolist() == [
        "all modalities",
        "without text",
        "without image",
        "without audio",
        "text alone",
        "image alone",
        "audio alone",
        "no content",
    ]
    ranked = fitted.recommend(held_out.user_id.unique(), k=10)
    whole = evaluate_ranking(ranked, held_out, ["ndcg@10"])
    interval = whole.intervals(random_state=0).loc["ndcg@10"]
    np.testing.assert_allclose(display.values.iloc[0], interval, atol=1e-9)
    widths = [bar.get_width() for bar in display.bars_]
    np.testing.assert_allclose(widths, display.values["mean"], atol=1e-9)
    assert display.values.loc["all modalities", "mean"] == pytest.approx(0.5, abs=1e-9)
    assert display.ax_.get_xlabel() == "ndcg@10"
    pd.testing.assert_frame_equal(fitted.item_vectors_, before)


def test_hiding_equals_content_that_is_not_there(truth):
    """By public methods: vectors of items without sound, users as means of them."""
    blocks = [
        pd.DataFrame(values).add_prefix(f"{modality}__")
        for modality, values in truth.item_factors.items()
    ]
    items = pd.concat([truth.item_table[["item_id"]], *blocks], axis=1)
    X = truth.interactions[["user_id", "item_id"]].merge(items, on="item_id")
    ((train, test),) = RandomHoldoutPerUser(2, random_state=0).split(X)
    train, test = X.iloc[train], X.iloc[test]
    model = MultimodalFusionRecommender(
        random_state=0, training=Training(max_epochs=4)
    ).fit(train)
    display = FROM(make_pipeline(model), test, metric="recall@5")

    met = train.drop_duplicates(["user_id", "item_id"])
    sound = [c for c in items if c.startswith("audio__")]
    known = items.assign(user_id="user-0001")[list(train)]
    known = known[known.item_id.isin(train.item_id)]
    silent = known.assign(**dict.fromkeys(sound, np.nan))
    vectors = pd.DataFrame(model.transform(silent), silent.item_id)
    users = vectors.loc[met.item_id].groupby(met.user_id.to_numpy()).mean()
    scores = users @ vectors.T + model.item_biases_
    seen = pd.crosstab(met.user_id, met.item_id).reindex(columns=scores.columns) > 0
    best = np.argsort(-scores.mask(seen, -np.inf).to_numpy(), axis=1)[:, :5]
    ranked = pd.DataFrame(
        {
            "user_id": np.repeat(scores.index, 5),
            "item_id": scores.columns[best.ravel()],
        }
    )
    expected = evaluate_ranking(ranked, test, ["recall@5"]).mean().iloc[0]
    assert display.values.loc["without audio", "mean"] == pytest.approx(
        expected, abs=1e-9
    )
    assert expected != display.values["mean"].iloc[0]


def test_no_content_is_a_model_of_ids(items, ratings):
    """With two modalities, "without" one and "alone" the other are the same."""
    table = items.drop(columns=[c for c in items if c.startswith("audio")])
    X = ratings[["user_id", "item_id"]]
    model = MultimodalFusionRecommender(
        ItemCatalog(table), n_factors=4, random_state=0, training=Training(max_epochs=2)
    ).fit(X.iloc[9:])
    display = FROM(model, X.head(9), ratings.rating.head(9), relevant_above=2)
    names = ["all modalities", "without text", "without image", "no content"]
    assert display.values.index.tolist() == names


def test_graded_metrics_and_given_axes(fitted, held_out):
    _, ax = plt.subplots()
    display = FROM(
        fitted,
        held_out[["user_id", "item_id"]],
        held_out.rating,
        metric="graded_ndcg@5",
        ax=ax,
        height=0.4,
    )
    assert display.ax_ is ax
    assert display.bars_[0].get_height() == 0.4
    assert (display.values.low <= display.values["mean"]).all()
    with pytest.raises(ValueError, match="unknown metric 'speed@5'"):
        FROM(fitted, held_out, metric="speed@5")
