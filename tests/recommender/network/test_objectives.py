"""What is predicted: rankings, probabilities, ratings, and several at once."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.datasets import make_multimodal_interactions
from skmmrec.metrics import get_scorer
from skmmrec.recommender import EarlyStopping, PopularityRecommender
from skmmrec.recommender.network._objectives import (
    Task,
    bpr,
    info_nce,
    sampled_bce,
    sampled_softmax,
)

IDS = ["user_id", "item_id"]


@pytest.fixture(scope="module")
def truth():
    return make_multimodal_interactions(
        120,
        60,
        n_interactions_per_user=20,
        modalities=["text"],
        taste_strength=4.0,
        random_state=0,
    )


@pytest.fixture(scope="module")
def catalog(truth):
    factors = truth.item_factors["text"]
    table = pd.DataFrame(
        factors, columns=[f"text__{c}" for c in range(factors.shape[1])]
    )
    return ItemCatalog(table.assign(item_id=truth.item_table.item_id))


@pytest.fixture(scope="module")
def rated(truth):
    """Random pairs with the truth about them: affinity, rating and click."""
    rng = np.random.default_rng(0)
    users, items = truth.interactions.user_id.unique(), truth.item_table.item_id
    affinity = truth.affinity(users, items)
    rows, columns = np.unravel_index(
        rng.choice(affinity.size, 6000, replace=False), affinity.shape
    )
    values = affinity[rows, columns]
    values = (values - values.mean()) / values.std()
    return pd.DataFrame(
        {
            "user_id": users[rows],
            "item_id": items.to_numpy()[columns],
            "rating": 3 + values + rng.normal(scale=0.2, size=len(rows)),
            "click": (rng.random(len(rows)) < 1 / (1 + np.exp(-2 * values))) * 1.0,
        }
    )


@pytest.fixture(scope="module")
def halves(rated):
    return rated[::2], rated[1::2]


def fit(catalog, table, y, **params):
    settings = {
        "n_factors": 16,
        "random_state": 0,
        "training__max_epochs": 15,
        **params,
    }
    rec = MultimodalFusionRecommender(catalog).set_params(**settings)
    return rec.fit(table[IDS], y)


@pytest.fixture(scope="module")
def rated_model(catalog, halves):
    """A model of the ratings of one half."""
    train, _ = halves
    return fit(catalog, train, train.rating, objective="mse")


@pytest.fixture(scope="module")
def learned_tasks(catalog, halves):
    """A model of the clicks and the ratings of one half."""
    train, _ = halves
    y = train[["click", "rating"]]
    return fit(ItemCatalog(catalog.items), train, y, objective=["bce", "mse"])


@pytest.fixture
def both_tasks(learned_tasks):
    """The same model, to be changed."""
    return deepcopy(learned_tasks)


@pytest.mark.parametrize("objective", ["softmax", "bpr", "bce"])
def test_every_objective_ranks(objective, truth, catalog):
    rows = truth.interactions.sort_values("timestamp")
    late = rows.groupby("user_id").cumcount(ascending=False) < 4
    rec = fit(catalog, rows[~late], None, objective=objective)
    popular = PopularityRecommender().fit(rows[~late][IDS])
    assert rec.score(rows[late][IDS]) > 1.5 * popular.score(rows[late][IDS])


@pytest.mark.parametrize("objective", ["bce", "mse"])
def test_no_greater_score_predicts_less(objective):
    drawn = np.random.default_rng(0).normal(0, 5, 200_000).astype(np.float32)
    scores = np.sort(np.concatenate([drawn, np.nextafter(drawn, np.float32(99))]))
    predicted = Task(objective, False, 0.5, 1.3).link(scores)
    assert predicted.dtype == np.float32
    assert (np.diff(predicted) >= 0).all()


def test_ratings_are_predicted(catalog, halves):
    train, test = halves
    rec = fit(
        catalog, train, train.rating, objective="mse", user_tower__history_exponent=0.5
    )
    predicted = rec.predict(test[IDS])
    error = np.sqrt(np.mean((predicted - test.rating) ** 2))
    assert error < 0.65 * test.rating.std()
    assert abs(predicted.mean() - test.rating.mean()) < 0.1


def test_the_best_rated_come_first(rated_model):
    table = rated_model.recommend(k=5)
    best = table[table["rank"] == 1]
    np.testing.assert_allclose(
        rated_model.predict(best[IDS]), best.score, rtol=1e-4, atol=1e-5
    )
    assert best.score.mean() > 3.5


def test_ratings_are_shifted_and_scaled_with_y(rated_model, catalog, halves):
    train, test = halves
    one = rated_model.predict(test[IDS])
    other = fit(catalog, train, train.rating * 20 - 7, objective="mse")
    np.testing.assert_allclose(other.predict(test[IDS]), one * 20 - 7, atol=0.02)


def test_probabilities_are_calibrated(catalog, halves):
    train, test = halves
    rec = fit(
        catalog, train, train.click, objective="bce", early_stopping=EarlyStopping()
    )
    predicted = rec.predict(test[IDS]).astype(float)
    assert ((predicted > 0) & (predicted < 1)).all()
    assert abs(predicted.mean() - test.click.mean()) < 0.04
    loss = -np.mean(np.log(np.where(test.click == 1, predicted, 1 - predicted)))
    share = test.click.mean()
    assert loss < -0.95 * (share * np.log(share) + (1 - share) * np.log(1 - share))


def test_scorers_of_ratings_and_clicks(rated_model, halves):
    """scikit-learn's own scorers take what predict gives."""
    _, test = halves
    from sklearn.metrics import get_scorer as sklearn_scorer

    assert sklearn_scorer("r2")(rated_model, test[IDS], test.rating) > 0.4
    assert get_scorer("ndcg@10")(rated_model, test[IDS], test.rating - 3.5) > 0


@pytest.mark.parametrize("task_weights", [None, [1.0, 0.3]])
def test_several_tasks_at_once(learned_tasks, catalog, halves, task_weights):
    train, test = halves
    rec = learned_tasks
    if task_weights is not None:
        y = train[["click", "rating"]]
        options = {"training__task_weights": task_weights}
        rec = fit(catalog, train, y, objective=["bce", "mse"], **options)
    predicted = rec.predict(test[IDS])
    assert predicted.shape == (len(test), 2)
    assert predicted.dtype == np.float32
    assert np.corrcoef(predicted[:, 0], test.click)[0, 1] > 0.3
    assert np.corrcoef(predicted[:, 1], test.rating)[0, 1] > 0.6
    learned = rec.model_.networks[0].log_variances.detach().numpy()
    assert np.allclose(learned, 0, atol=1e-6) == (task_weights is not None)


@pytest.mark.parametrize("objectives", [["bce", "mse"], ["mse", "bce"]])
def test_only_ratings_have_a_variance(catalog, halves, objectives):
    """What else is learned is a likelihood already, whatever its loss comes to."""
    train, _ = halves
    columns = {"bce": "click", "mse": "rating"}
    y = train[[columns[name] for name in objectives]]
    rec = fit(catalog, train, y, objective=objectives, training__max_epochs=2)
    learned = rec.model_.networks[0].log_variances.detach().numpy()
    changed = ~np.isclose(learned, 0, rtol=0, atol=1e-6)
    assert changed.tolist() == [name == "mse" for name in objectives]


def test_ratings_beside_likes_cost_the_lists_nothing(catalog, halves):
    """A rating's loss is a fifth of a ranking's, which must not count it fivefold."""
    train, _ = halves
    likes = (train.rating > 3).astype(float)
    rec = fit(
        catalog,
        train,
        np.column_stack([likes, train.rating]),
        objective=["softmax", "mse"],
    )
    ranking, ratings = rec.choices_["task_weights"].value
    assert ratings < 3 * ranking


def test_tasks_may_lack_answers(catalog, halves):
    """Rows without a rating teach the clicks only."""
    train, test = halves
    y = train[["click", "rating"]].to_numpy().copy()
    y[::3, 1] = np.nan
    rec = fit(catalog, train, y, objective=["bce", "mse"], training__max_epochs=2)
    assert np.isfinite(rec.predict(test[IDS])).all()


def test_new_items_have_an_answer_to_every_task(both_tasks, catalog, halves):
    train, _ = halves
    new = catalog.items.head(2).assign(item_id=["new1", "new2"])
    both_tasks.add_items(new)
    pairs = pd.DataFrame({"user_id": train.user_id.iloc[0], "item_id": new.item_id})
    predicted = both_tasks.predict(pairs)
    assert predicted.shape == (2, 2)
    assert 0 < predicted[0, 0] < 1
    assert 0 < predicted[0, 1] < 6


def test_several_tasks_are_saved(catalog, halves, tmp_path):
    train, test = halves
    rec = fit(
        catalog,
        train,
        train[["click", "rating"]],
        objective=["bce", "mse"],
        training__task_weights=(1, 2),
        training__max_epochs=1,
    )
    rec.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(test[IDS]), rec.predict(test[IDS]))


def test_feedback_keeps_the_number_of_tasks(both_tasks, halves):
    train, test = halves
    with pytest.raises(ValueError, match="y has 1 columns, but fit had 2"):
        both_tasks.partial_fit(test[IDS], test.click)
    both_tasks.partial_fit(test[IDS], test[["click", "rating"]])
    assert len(both_tasks.seen_.items) == len(train) + len(test)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("hinge", "objective must be one of"),
        (["bce", "hinge"], "'hinge'"),
        ([], "a list of str"),
        (3, "a list of str"),
        (["bce", "mse", "bpr"], "names 3 tasks, y has 2: .* each of"),
    ],
)
def test_unknown_objectives(catalog, halves, objective, message):
    with pytest.raises(ValueError, match=message):
        fit(catalog, halves[0], halves[0][["click", "rating"]], objective=objective)


def test_ratings_must_be_given(catalog, halves):
    with pytest.raises(ValueError, match="requires y to be passed"):
        fit(catalog, halves[0], None, objective="mse")


# -- the losses themselves -----------------------------------------------------------


def test_losses_by_hand():
    positive = torch.tensor([2.0, 0.0])
    negative = torch.tensor([[1.0, 5.0], [0.0, -1.0]])
    excluded = torch.tensor([[False, True], [False, False]])
    expected = torch.log1p(torch.exp(torch.tensor([-1.0, 0.0])))
    found = bpr(positive, negative, excluded)
    second = (expected[1] + np.log1p(np.exp(-1.0))) / 2
    torch.testing.assert_close(
        found, torch.stack([expected[0], second]), rtol=1e-5, atol=1e-6
    )
    bce = sampled_bce(positive, negative, excluded)
    torch.testing.assert_close(
        bce[0],
        torch.log1p(torch.exp(torch.tensor(-2.0))) + np.log1p(np.exp(1.0)),
        rtol=1e-5,
        atol=1e-6,
    )
    softmax = sampled_softmax(positive, negative, torch.zeros(2), excluded)
    torch.testing.assert_close(
        softmax[0], torch.log1p(torch.exp(torch.tensor(-1.0))), rtol=1e-5, atol=1e-6
    )


def test_a_softmax_over_nothing_else_costs_nothing():
    positive = torch.tensor([2.0, -90.0], requires_grad=True)
    nothing = torch.zeros(2, 0, requires_grad=True)
    offsets, excluded = torch.zeros(0), torch.zeros(2, 0, dtype=torch.bool)
    losses = sampled_softmax(positive, nothing, offsets, excluded)
    losses.sum().backward()
    assert losses.tolist() == positive.grad.tolist() == [0.0, 0.0]
    assert nothing.grad.shape == (2, 0)


def test_info_nce_is_least_where_pairs_agree():
    vectors = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    matched = info_nce(vectors, vectors * 3, 0.1).mean()
    assert matched < info_nce(vectors, vectors.roll(1, 0), 0.1).mean()
    assert matched < np.log(6)
