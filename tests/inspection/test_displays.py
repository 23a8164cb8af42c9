"""Displays draw the numbers that they say."""

import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline

from skmmrec.inspection import (
    EmbeddingMapDisplay,
    ExposureCurveDisplay,
    LossCurveDisplay,
    ModalityContributionDisplay,
    RankingCurveDisplay,
    modality_contributions,
    modality_shares,
)
from skmmrec.metrics import catalog_coverage, evaluate_ranking, gini_exposure
from skmmrec.recommender import PopularityRecommender

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_ranking_curve(fitted, truth):
    held_out = pd.DataFrame({"user_id": truth.users.user_id[:60]})
    held_out["item_id"] = truth.item_table.item_id[:60]
    display = RankingCurveDisplay.from_estimator(
        make_pipeline(fitted), held_out, metric="recall", ks=[5, 1], random_state=0
    )
    ranked = fitted.recommend(held_out.user_id, k=5)
    expected = evaluate_ranking(ranked, held_out, ["recall@1", "recall@5"]).mean()
    assert display.line_.get_xdata().tolist() == [1, 5]
    np.testing.assert_allclose(display.line_.get_ydata(), expected, atol=1e-9)
    assert (display.values.low <= display.values["mean"]).all()
    assert display.ax_.get_ylabel() == "recall@k"
    assert display.line_.get_label() == "MultimodalFusionRecommender"
    other = PopularityRecommender().fit(truth.interactions[["user_id", "item_id"]])
    second = RankingCurveDisplay.from_estimator(
        other, held_out, metric="recall", ks=[1, 5], ax=display.ax_, color="red"
    )
    assert second.figure_ is display.figure_
    assert second.line_.get_color() == "red"
    assert second.line_.get_label() == "PopularityRecommender"


def test_ranking_curve_takes_only_relevant_rows(fitted):
    held_out = fitted.recommend(k=2)
    held_out["rating"] = np.resize(np.arange(1, 6), len(held_out))
    liked = held_out[held_out.rating > 3]
    columns = ["user_id", "item_id"]
    some = RankingCurveDisplay.from_estimator(
        fitted, held_out[columns], held_out.rating, relevant_above=3, ks=[5]
    )
    same = RankingCurveDisplay.from_estimator(fitted, liked[columns], ks=[5])
    with pytest.raises(ValueError, match="ks is empty"):
        RankingCurveDisplay.from_estimator(fitted, liked[columns], ks=[])
    assert some.values["mean"].tolist() == same.values["mean"].tolist()
    assert some.values["mean"].item() > 0.5


def test_exposure_curve(fitted):
    display = ExposureCurveDisplay.from_estimator(fitted, k=5)
    ranked = fitted.recommend(k=5)
    assert display.gini == gini_exposure(ranked, fitted.item_index_)
    coverage = catalog_coverage(ranked, fitted.item_index_)
    assert f"coverage {coverage:.0%}" in display.line_.get_label()
    y = display.line_.get_ydata()
    assert (y[0], y[-1]) == (0, 1)
    assert (np.diff(y, 2) >= -1e-12).all()
    assert np.trapezoid(y, display.line_.get_xdata()) == pytest.approx(
        (1 - display.gini) / 2, abs=1 / len(y)
    )


def test_loss_curve(fitted):
    display = LossCurveDisplay.from_estimator(fitted, name="gated")
    assert display.line_.get_ydata().tolist() == fitted.loss_curve_
    assert display.line_.get_xdata()[0] == 1
    with pytest.raises(AttributeError, match="loss_curve_"):
        LossCurveDisplay.from_estimator(PopularityRecommender())


def test_loss_curve_with_validation():
    display = LossCurveDisplay(
        losses=[3.0, 2.0, 1.0], validation=[-0.4, -0.2, -0.3], metric="loss"
    ).plot()
    assert display.validation_line_.get_ydata().tolist() == [0.4, 0.2, 0.3]
    second = display.validation_line_.axes
    assert second.get_ylabel() == "Validation: loss"
    assert second.lines[1].get_xdata().tolist() == [2]
    assert LossCurveDisplay(losses=[1.0]).plot().validation_line_ is None


def test_contribution_bars_of_users(fitted):
    users = fitted.user_index_[:3]
    display = ModalityContributionDisplay.from_estimator(fitted, users, k=4)
    ranked = fitted.recommend(users, k=4)
    shares = modality_shares(
        modality_contributions(fitted, ranked.user_id, ranked.item_id)
    )
    assert display.shares.index.tolist() == users.tolist()
    np.testing.assert_allclose(
        display.shares.loc[users[1]],
        shares[ranked.user_id == users[1]].mean(),
        atol=1e-6,
    )
    ends = sum(np.array([p.get_width() for p in bar]) for bar in display.bars_)
    np.testing.assert_allclose(ends, 1, atol=1e-6)


def test_contribution_bars_of_groups_and_of_all(fitted, truth):
    whole = ModalityContributionDisplay.from_estimator(fitted, k=3)
    assert whole.shares.index.tolist() == ["all users"]
    groups = truth.users.set_index("user_id").idxmax(axis=1)
    display = ModalityContributionDisplay.from_estimator(fitted, k=3, groups=groups)
    assert set(display.shares.index) == {"text", "image", "audio"}
    order = ["image", "text", "none", "audio"]
    groups = pd.Series(pd.Categorical(groups, order), groups.index)
    display = ModalityContributionDisplay.from_estimator(fitted, k=3, groups=groups)
    assert display.shares.index.tolist() == ["image", "text", "audio"]
    with pytest.raises(ValueError, match="no group for 'user-0002'"):
        ModalityContributionDisplay.from_estimator(fitted, groups=groups.head(1))


def test_embedding_map_keeps_the_distances_it_can(fitted, truth):
    groups = truth.item_attributes.theme.head(100)
    display = EmbeddingMapDisplay.from_estimator(fitted, groups=groups)
    assert display.points.shape == (100, 2)
    assert len(display.scatters_) == groups.nunique()
    drawn = sum(len(s.get_offsets()) for s in display.scatters_)
    assert drawn == 100
    vectors = fitted.item_vectors_.loc[groups.index].to_numpy()
    centred = vectors - vectors.mean(axis=0)
    largest = np.linalg.svd(centred, compute_uv=False)[:2]
    np.testing.assert_allclose(
        np.linalg.norm(display.points, axis=0), largest, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("names", [("$5-$10", "$10-$20"), ("$5_{-$10", "$x^-$y")])
def test_dollars_in_names_of_groups_are_no_mathematics(fitted, truth, names):
    items, users = truth.item_table.item_id, truth.users.user_id
    of_items = pd.Series(np.resize(names, len(items)), items)
    of_users = pd.Series(np.resize(names, len(users)), users)
    points = EmbeddingMapDisplay.from_estimator(fitted, groups=of_items)
    bars = ModalityContributionDisplay.from_estimator(fitted, k=3, groups=of_users)
    for display, texts in (
        (points, points.ax_.get_legend().get_texts()),
        (bars, bars.ax_.get_yticklabels()),
    ):
        display.figure_.canvas.draw()
        written = [text.get_text() for text in texts]
        assert sorted(text.replace("\\$", "$") for text in written) == sorted(names)
        assert not any(map(matplotlib.cbook.is_math_text, written))


def test_embedding_map_of_users(fitted):
    display = EmbeddingMapDisplay.from_estimator(fitted, kind="users", s=5)
    assert len(display.points) == len(fitted.user_index_)
    assert display.ax_.get_legend() is None


def test_bad_maps_are_named(fitted):
    with pytest.raises(ValueError, match="kind must be"):
        EmbeddingMapDisplay.from_estimator(fitted, kind="words")
    with pytest.raises(ValueError, match="method must be"):
        EmbeddingMapDisplay.from_estimator(fitted, method="tsne")
    with pytest.raises(ValueError, match="at least 2 items that have a group"):
        EmbeddingMapDisplay.from_estimator(fitted, groups=pd.Series({"nothing": 1}))


def test_umap_names_its_package_where_it_is_absent(fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="pip install umap-learn"):
        EmbeddingMapDisplay.from_estimator(fitted, method="umap")


def test_umap_is_asked_for_cosines(fitted, monkeypatch):
    asked = {}

    class UMAP:
        def __init__(self, **options):
            asked.update(options)

        def fit_transform(self, vectors):
            return vectors[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    display = EmbeddingMapDisplay.from_estimator(fitted, method="umap", random_state=3)
    assert asked == {
        "n_neighbors": 15,
        "metric": "cosine",
        "random_state": 3,
        "n_jobs": 1,
    }
    np.testing.assert_array_equal(
        display.points, fitted.item_vectors_.to_numpy()[:, :2]
    )
    assert display.ax_.get_xlabel() == "UMAP 1"
    few = pd.Series("x", fitted.item_index_[:4])
    with pytest.raises(ValueError, match="needs more than 4 points"):
        EmbeddingMapDisplay.from_estimator(fitted, method="umap", groups=few)


@pytest.mark.slow
def test_umap_keeps_neighbours(fitted):
    """numba compiles for long; the package warns of what it could do with more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("umap")
        display = EmbeddingMapDisplay.from_estimator(
            fitted, method="umap", random_state=0
        )
    vectors = fitted.item_vectors_.to_numpy()
    nearest = NearestNeighbors(n_neighbors=8, metric="cosine").fit(vectors)
    flat = NearestNeighbors(n_neighbors=8).fit(display.points.to_numpy())
    kept = [
        len(np.intersect1d(a, b)) / 8
        for a, b in zip(
            nearest.kneighbors(return_distance=False),
            flat.kneighbors(return_distance=False),
            strict=True,
        )
    ]
    assert np.mean(kept) > 0.3


def test_displays_draw_on_given_axes(fitted):
    figure, axes = plt.subplots(1, 4)
    makers = [
        lambda ax: LossCurveDisplay.from_estimator(fitted, ax=ax),
        lambda ax: ExposureCurveDisplay.from_estimator(fitted, ax=ax),
        lambda ax: ModalityContributionDisplay.from_estimator(fitted, ax=ax),
        lambda ax: EmbeddingMapDisplay.from_estimator(fitted, ax=ax),
    ]
    for make, ax in zip(makers, axes, strict=True):
        display = make(ax)
        assert display.ax_ is ax
        assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]


def test_matplotlib_is_named_where_it_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"matplotlib: pip install 'skmmrec\[demo\]'"):
        LossCurveDisplay(losses=[1.0]).plot()
