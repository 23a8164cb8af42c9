"""How far the embeddings of single items, and their popularity, are trusted."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils._param_validation import InvalidParameterError

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import (
    Choice,
    Choices,
    ContentRecommender,
    EarlyStopping,
    Training,
)
from skmmrec.recommender.network._objectives import MIN_CREDIT, credit
from skmmrec.recommender.training import _choosing, _trial
from skmmrec.recommender.training._assembly import make_batcher, make_loss
from skmmrec.recommender.training._batches import Batcher
from skmmrec.recommender.training._held_likes import MIN_USERS
from skmmrec.recommender.training._id_prior import CLEAR, HIGH, LOW, confirm_precision
from skmmrec.recommender.training._loop import Trainer
from skmmrec.recommender.training._validation import some_users
from skmmrec.runtime import Generators

N_USERS, N_ITEMS = 300, 60


@pytest.fixture(scope="module")
def items():
    rng = np.random.default_rng(0)
    return rng.normal(size=(N_ITEMS, 8)).astype(np.float32)


def catalog_of(values):
    table = pd.DataFrame(values).add_prefix("image__")
    table.insert(0, "item_id", np.arange(N_ITEMS))
    return ItemCatalog(table)


def likes_by(vectors, seed=1, n=10):
    """Each user likes the items nearest to a taste in the space of the vectors."""
    rng = np.random.default_rng(seed)
    tastes = rng.normal(size=(N_USERS, vectors.shape[1]))
    scores = 3 * tastes @ vectors.T + rng.gumbel(size=(N_USERS, N_ITEMS))
    best = np.argsort(-scores, axis=1)[:, :n]
    X = pd.DataFrame({"user_id": np.repeat(np.arange(N_USERS), n)})
    return X.assign(item_id=best.ravel())


@pytest.fixture(scope="module")
def by_content(items):
    return likes_by(items)


@pytest.fixture(scope="module")
def by_chance(items):
    """Taste follows hidden attributes that the content does not show."""
    return likes_by(np.random.default_rng(7).normal(size=items.shape))


def fit(items, X, **params):
    params = {"training__max_epochs": 4, "random_state": 0, **params}
    return MultimodalFusionRecommender(catalog_of(items)).set_params(**params).fit(X)


@pytest.fixture(scope="module")
def usual(items, by_content):
    """A model that is looked at only."""
    return fit(items, by_content)


@pytest.fixture(scope="module")
def by_precision(items, by_content):
    """Such models of given precisions."""
    given = (0, 2, 100)
    return {p: fit(items, by_content, regularization__id_l2=p) for p in given}


def embedding_length(rec):
    return float(rec.model_.networks[0].item_embedding.detach().norm())


def test_a_given_precision_is_kept_and_shrinks_embeddings(by_precision):
    lengths = {}
    for precision, rec in by_precision.items():
        assert rec.id_l2_ == precision
        lengths[precision] = embedding_length(rec)
    assert lengths[0] > lengths[2] > lengths[100]


@pytest.mark.parametrize("own_negatives", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_embeddings_are_distrusted_where_content_tells_all(
    items, by_content, own_negatives, seed
):
    rec = fit(
        items, by_content, training__own_negatives=own_negatives, random_state=seed
    )
    assert CLEAR <= rec.id_l2_ <= HIGH


@pytest.mark.parametrize("own_negatives", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_embeddings_are_trusted_where_content_tells_nothing(
    items, by_chance, own_negatives, seed
):
    rec = fit(
        items, by_chance, training__own_negatives=own_negatives, random_state=seed
    )
    assert rec.id_l2_ == LOW


@pytest.fixture(scope="module")
def asked():
    return Choice(17.0, "likelier", {"the trial's": 17.0})


def confirmed(asked, errors_behind):
    """Confirm a precision by lists that are so many standard errors worse."""
    rng = np.random.default_rng(0)
    without = rng.uniform(0, 1, 100)
    noise = rng.normal(0, 0.1, 100)
    noise -= noise.mean()
    ndcg = without + noise - errors_behind * noise.std() / 10
    return confirm_precision(asked, without, ndcg), without, ndcg


@pytest.mark.parametrize(
    ("errors_behind", "value", "how"),
    [
        (-1.1, 17.0, "no worse"),
        (0.0, 17.0, "no worse"),
        (0.99, 17.0, "no worse"),
        (1.5, 17**0.5, "somewhat worse"),
        (2.01, LOW, "but ranked worse"),
        (9.0, LOW, "but ranked worse"),
    ],
)
def test_a_precision_is_trusted_less_where_likes_are_ranked_worse(
    asked, errors_behind, value, how
):
    chosen, without, ndcg = confirmed(asked, errors_behind)
    assert chosen.value == pytest.approx(value, rel=1e-6, abs=1e-9)
    assert how in chosen.reason
    expected = {
        "the trial's": 17.0,
        "ndcg@100 without": without.mean(),
        "with": ndcg.mean(),
        "standard error": (ndcg - without).std() / 10,
    }
    assert chosen.figures == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_precision_falls_without_a_step(asked):
    steps = np.linspace(0.9, 2.1, 121)
    values = [confirmed(asked, errors)[0].value for errors in steps]
    ratios = np.array(values[:-1]) / values[1:]
    assert ratios.min() >= 1
    # A hundredth of a standard error is a hundredth of the way, by logarithms.
    assert ratios.max() <= 17 ** (1.001 / 100)


def test_lists_that_are_worse_for_all_users_alike_count(asked):
    without = np.full(50, 0.5)
    assert confirm_precision(asked, without, without).value == 17
    assert confirm_precision(asked, without, without - 0.1).value == LOW
    assert confirm_precision(asked, without, without + 0.1).value == 17


@pytest.mark.parametrize("worse", [False, True])
def test_lists_have_the_last_word_about_the_precision(
    items, by_content, monkeypatch, worse
):
    """Both networks have seen the same epochs when they are compared."""
    seen, compared = [], []
    run = Trainer.run

    def count(self):
        seen.append(0)
        for epoch in run(self):
            seen[-1] += 1
            yield epoch

    def confirm(chosen, without, ndcg):
        compared.append((seen[-2], seen[-1], without, ndcg))
        return replace(chosen, value=LOW) if worse else chosen

    monkeypatch.setattr(Trainer, "run", count)
    monkeypatch.setattr(_trial, "confirm_precision", confirm)
    rec = fit(items, by_content)
    assert (rec.id_l2_ == LOW) == worse
    ((n_first, n_second, without, ndcg),) = compared
    assert (n_first, n_second) == (4, 3)
    assert without.shape == ndcg.shape
    assert len(ndcg) >= MIN_USERS
    assert not np.allclose(without, ndcg, rtol=1e-6, atol=1e-6)


def test_lists_of_split_tables_are_not_asked_for(usual, items, monkeypatch):
    parts = usual.model_.networks[0], usual.model_.problem(), usual._plan()
    monkeypatch.setattr(_trial, "choose_split", lambda *_: {"items": len(items)})
    monkeypatch.delattr(_trial, "confirm_precision")
    chosen, _ = _trial.try_out(*parts, Generators(0))
    assert chosen.value >= CLEAR


def test_few_interactions_are_too_few_to_learn_from(items, by_content, monkeypatch):
    assert fit(items, by_content.head(_trial.MIN_TRIED - 1)).id_l2_ == LOW
    assert fit(items, by_content, training__max_epochs=2).id_l2_ == LOW
    assert fit(items, by_content, training__max_time=60).id_l2_ == LOW
    monkeypatch.setattr(_trial, "MIN_TRIED", len(by_content) + 1)
    assert fit(items, by_content).id_l2_ == LOW


def test_the_trial_leaves_nothing_out_of_the_fit(items, by_content, monkeypatch):
    """It sees nine tenths of the pairs; then all are learned from."""
    seen = []
    blocks = Batcher.blocks

    def spy(self, steps, **options):
        seen.append((len(self.examples), len(self.history.items)))
        return blocks(self, steps, **options)

    monkeypatch.setattr(Batcher, "blocks", spy)
    rec = fit(items, by_content)
    n = len(by_content)
    trial = {(0.9 * n, 0.9 * n), (0.1 * n, 0.9 * n)}
    assert set(seen) == {*trial, (n, n)}
    assert set(seen[: seen.index((n, n))]) == trial
    assert set(seen[seen.index((n, n)) :]) == {(n, n)}
    assert len(rec.history_.items) == n


def test_the_trial_leaves_the_network_as_it_is(usual):
    network = usual.model_.networks[0]
    before = deepcopy(network.state_dict())
    problem = usual.model_.problem()
    chosen, _ = _trial.try_out(network, problem, usual._plan(), Generators(0))
    assert chosen.value >= CLEAR
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_split_tables_are_not_tried_for_a_memory_alone(
    by_precision, items, monkeypatch
):
    rec = by_precision[2]
    parts = rec.model_.networks[0], rec.model_.problem(), rec._plan(), Generators(0)
    monkeypatch.setattr(_choosing, "choose_split", lambda *_: {"items": len(items)})
    monkeypatch.delattr(_choosing, "try_out")
    choices = Choices()
    chosen = _choosing.choose_by_trial(*parts, choices)
    assert (chosen.id_l2, chosen.memory, chosen.half_life) == (2.0, None, None)
    reason = "no process has the whole table of embeddings"
    assert choices["memory"] == Choice(0, reason)


def test_a_fit_that_was_killed_goes_on_with_the_same_precision(
    items, by_content, usual, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        save = Trainer._save

        def save_and_die(self, *args):
            save(self, *args)
            if self.checkpoint is not None and len(self.history) == 2:
                raise KeyboardInterrupt

        patch.setattr(Trainer, "_save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            fit(items, by_content, training__checkpoint_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    resumed = fit(items, by_content, training__checkpoint_dir=tmp_path)
    assert resumed.id_l2_ == usual.id_l2_ >= CLEAR
    pd.testing.assert_frame_equal(resumed.item_vectors_, usual.item_vectors_)


def test_the_trial_does_not_stop_early(items, by_content):
    rec = fit(
        items,
        by_content,
        training__max_epochs=8,
        early_stopping=EarlyStopping(n_iter_no_change=1),
    )
    assert rec.id_l2_ >= CLEAR


def test_the_trial_takes_some_users_of_many(items, by_content, monkeypatch):
    monkeypatch.setattr(_trial, "MAX_TRIED", 2100)
    sizes = []
    blocks = Batcher.blocks

    def spy(self, steps, **options):
        sizes.append(len(self.examples))
        return blocks(self, steps, **options)

    monkeypatch.setattr(Batcher, "blocks", spy)
    assert fit(items, by_content).id_l2_ >= CLEAR
    assert set(sizes) == {1890, 210, len(by_content)}


def test_some_users_keep_their_whole_histories(items, by_content):
    problem = fit(items, by_content, training__max_epochs=1).model_.problem()
    rng = np.random.RandomState(0)
    examples, left = some_users(problem.examples, problem.history, 500, rng)
    assert len(examples) == 500
    counts = np.bincount(examples.users, minlength=N_USERS)
    assert sorted(set(counts)) == [0, 10]
    np.testing.assert_array_equal(left.lengths, counts)
    np.testing.assert_array_equal(left.items[examples.places_in(left)], examples.items)


def test_scoring_by_content_alone_tries_nothing(usual, items, by_content):
    assert usual.id_l2_ > LOW
    rec = ContentRecommender(catalog_of(items)).fit(by_content)
    assert rec.model_.id_l2 == LOW


def test_it_is_saved(items, by_content, tmp_path):
    rec = fit(items, by_content, regularization__id_l2="auto")
    rec.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    assert loaded.id_l2_ == rec.id_l2_ > LOW
    assert loaded.regularization.id_l2 == "auto"


@pytest.mark.parametrize("objective", ["bpr", "bce", "mse"])
def test_every_objective_learns_it(items, by_content, objective):
    y = None if objective == "bpr" else np.tile([1.0, 0.0, 2.0, 1.0], len(by_content))
    y = None if y is None else y[: len(by_content)]
    rec = MultimodalFusionRecommender(
        catalog_of(items),
        objective=objective,
        random_state=0,
        training=Training(max_epochs=3),
    ).fit(by_content, y)
    assert LOW <= rec.id_l2_ <= HIGH
    assert np.isfinite(rec.item_vectors_).all(axis=None)


def test_the_prior_is_shared_out_over_the_interactions(items, by_content, monkeypatch):
    """Only the embeddings have one, whose gradient is the precision times them."""
    groups = []
    make = Trainer._make_optimizer

    def spy(self):
        groups.append(make(self).adam.param_groups)
        embedding = self.loss.network.item_embedding
        assert [p is embedding for p in groups[-1][0]["params"]] == [True]
        others = [p for group in groups[-1][1:] for p in group["params"]]
        assert not any(p is embedding for p in others)
        assert 1 + len(others) == len([*self.loss.network.parameters()])
        return make(self)

    monkeypatch.setattr(Trainer, "_make_optimizer", spy)
    rec = fit(items, by_content, regularization__id_l2=6.0, memory=None)
    rec.set_params(training__partial_fit_epochs=1).partial_fit(by_content.head(20))
    assert len(groups) == 2
    for embedding, *others in groups:
        assert embedding["weight_decay"] == 6.0 / len(by_content)
        assert [group["weight_decay"] for group in others] == [0, 0]


def test_penalties_are_no_part_of_the_loss_at_rest(usual):
    problem, plan = usual.model_.problem(), usual._plan()
    generators, network = Generators(0), deepcopy(usual.model_.networks[0])
    history, examples = problem.history, problem.examples
    batcher = make_batcher(problem, plan, generators, history, examples)
    loss = make_loss(network, problem, plan, generators, 1.0)
    batch = batcher.batch(np.arange(50))
    loss.options = replace(loss.options, dropout=0.0, modality_dropout=0.0)
    with torch.no_grad():
        at_rest, in_training = loss.eval()(batch), loss.train()(batch)
    assert float(in_training) > float(at_rest)


@pytest.mark.parametrize("value", [-1, "none", None])
def test_other_values_are_refused(items, by_content, value):
    with pytest.raises(InvalidParameterError, match="'id_l2' parameter"):
        fit(items, by_content, regularization__id_l2=value)


# -- popularity ----------------------------------------------------------------------


def test_popularity_that_may_be_chance_is_distrusted():
    rng = np.random.default_rng(0)
    by_chance = rng.poisson(20, 5000)
    assert credit(by_chance) == pytest.approx(by_chance.mean(), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("shape", [0.8, 2.0, 5.0])
def test_the_credit_is_the_shape_of_the_distribution(shape):
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(shape, 50 / shape, 20_000))
    assert credit(counts[counts > 0]) == pytest.approx(shape, abs=0.1 * shape)


def test_the_credit_has_bounds():
    assert credit(np.array([0, 0])) == MIN_CREDIT
    assert credit(np.array([1, 1, 1, 2, 5000])) == MIN_CREDIT
    assert credit(np.array([3, 3, 3])) == 3


def test_unliked_items_do_not_count():
    counts = np.array([1, 4, 9, 20])
    assert credit(np.r_[counts, np.zeros(100, int)]) == credit(counts)


def test_a_trial_is_trained_with_the_precision_that_is_given(by_precision):
    """The network that a memory is tried beside is like the one that it will be."""
    lengths = {}
    for given, rec in by_precision.items():
        network = rec.model_.networks[0]
        parts = network, rec.model_.problem(), rec._plan(), Generators(0)
        chosen, trial = _trial.try_out(*parts)
        assert chosen.value == given
        lengths[given] = float(trial.network.item_embedding.detach().norm())
    assert lengths[0] > lengths[2] > lengths[100]
