"""A training step: few operations, none of which waits for the device."""

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from functools import cache
from weakref import ref

import numpy as np
import pandas as pd
import pytest
import torch
from packaging.version import Version
from sklearn.base import clone
from torch.utils._python_dispatch import TorchDispatchMode

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.fusion import get_fusion_names
from skmmrec.recommender import Propagation
from skmmrec.recommender.network import (
    info_nce,
    sampled_softmax,
    weighted_squares,
)
from skmmrec.recommender.training import _loop
from skmmrec.recommender.training._assembly import make_batcher, make_loss, make_options
from skmmrec.recommender.training._step import _alignment
from skmmrec.runtime import Generators
from tests.pretended import Mixed, no_waits, pretended_gpus

N_ITEMS, N_USERS = 40, 60

counts_operations = pytest.mark.skipif(
    Version(torch.__version__) < Version("2.10"),
    reason="older versions of torch take more operations for the same",
)


def table(seed=0):
    rng = np.random.default_rng(seed)
    items = pd.DataFrame(rng.normal(size=(N_ITEMS, 9)).astype(np.float32))
    items.columns = [f"{m}__{c}" for m in ("image", "text", "audio") for c in range(3)]
    items.loc[::5, [c for c in items if c.startswith("text")]] = np.nan
    items.insert(0, "item_id", np.arange(N_ITEMS))
    pairs = [
        (user, item, step)
        for user in range(N_USERS)
        for step, item in enumerate(rng.choice(N_ITEMS, rng.integers(2, 30), False))
    ]
    X = pd.DataFrame(pairs, columns=["user_id", "item_id", "timestamp"])
    return items, X, rng.integers(1, 6, len(X)).astype(float)


OPTIONS = {
    "default": {},
    "two modalities": {"training__batch_size": 10},
    "batch of few negatives": {"training__n_negatives": 8},
    "own negatives": {"training__own_negatives": True},
    "attention": {"user_tower": "attention", "user_tower__history_exponent": 0.5},
    "sequence": {"user_tower": "sequence"},
    "user embedding": {"user_tower__user_embedding": True},
    "bpr": {"objective": "bpr"},
    "bce": {"objective": "bce"},
    "ratings": {"objective": "mse"},
    "several tasks": {"objective": ["softmax", "mse"]},
    "dropout": {
        "regularization__id_dropout": 0.2,
        "regularization__history_dropout": 0.2,
    },
    "alignment": {"regularization__alignment": 0.1},
    "balance": {"regularization__modality_balance": 0.5},
    "late stacking": {"fusion": "late_stacking"},
    "graph": {"propagation": Propagation(share=0.3, n_neighbors=4)},
}


@cache
def fitted(name):
    items, X, ratings = table()
    options = OPTIONS[name]
    if name == "two modalities":
        items = items.drop(columns=[c for c in items if c.startswith("audio")])
    answers = {
        "ratings": ratings,
        "several tasks": np.column_stack([ratings > 2, ratings]).astype(float),
    }
    params = {
        "n_factors": 8,
        "random_state": 0,
        "training__max_epochs": 1,
        "training__batch_size": 25,
        **options,
    }
    rec = MultimodalFusionRecommender(ItemCatalog(items)).set_params(**params)
    return rec.fit(X, answers.get(name))


def made(rec, device="cpu", half=None):
    """Trainer of a fitted recommender's network, on a device."""
    problem, plan = rec.model_.problem(), rec._plan()
    generators = Generators(0, torch.device(device))
    network = deepcopy(rec.model_.networks[0]).to(device)
    batcher = make_batcher(problem, plan, generators, problem.history, problem.examples)
    loss = make_loss(network, problem, plan, generators, rec.id_l2_).train()
    options = make_options(network, problem, plan, len(problem.examples), 0.0)
    if half is not None:
        options = replace(options, half=half)
    return _loop.Trainer(loss, batcher, options)


@pytest.fixture(params=sorted(OPTIONS))
def trainer(request):
    return made(fitted(request.param))


def a_step(trainer):
    """Parts of a step, as the loop makes them."""
    batch, noise, _ = next(trainer._batches())
    return trainer.loss, batch, noise


class Counted(TorchDispatchMode):
    """Counts the operations of torch."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


@counts_operations
def test_a_default_step_takes_few_operations():
    """Making its batch, the gradients and the optimizer included."""
    trainer = made(fitted("two modalities"))
    with Counted() as mode:
        trainer._epoch(trainer.loss)
    assert sum(mode.counts.values()) / trainer.steps_per_epoch <= 150


def test_steps_leave_nothing_between_the_tensors_of_others(monkeypatch):
    """A loss that is kept would split memory in which later tensors had room."""
    trainer, losses, n_alive = made(fitted("two modalities")), [], []
    step = trainer._step

    def watched(*args):
        n_alive.append(sum(loss() is not None for loss in losses))
        losses.append(ref(found := step(*args)))
        return found

    monkeypatch.setattr(trainer, "_step", watched)
    trainer._epoch(trainer.loss)
    assert n_alive == [0] * trainer.steps_per_epoch


class Strict(Counted):
    """Refuses what must wait for a device: values, and sizes that depend on values."""

    LOOKS = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "unique",
        "equal.default",
    )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert not any(look in str(func) for look in self.LOOKS), func
        if str(func).startswith("aten.index"):
            indices = args[1] if isinstance(args[1], list) else []
            by_mask = [i is not None and i.dtype == torch.bool for i in indices]
            assert not any(by_mask), f"{func} selects by a mask"
        return super().__torch_dispatch__(func, types, args, kwargs)


def test_a_step_waits_for_nothing(trainer, monkeypatch):
    """Neither a value nor a size that depends on values goes to the host."""
    batch, noise, _ = next(trainer._batches())
    before = trainer.loss.network.item_embedding.clone()

    def refuse(self, *args, **kwargs):
        raise AssertionError("a step looked at a tensor")

    names = ["cpu", "item", "nonzero", "tolist", "numpy", "unique"]
    names += ["__bool__", "__float__", "__int__", "__index__", "__array__"]
    with monkeypatch.context() as patch, Strict() as mode:
        for name in names:
            patch.setattr(torch.Tensor, name, refuse)
        loss = trainer._step(trainer.loss, batch, noise)
    assert sum(mode.counts.values()) > 50
    assert loss.isfinite()
    assert not torch.equal(trainer.loss.network.item_embedding, before)
    assert trainer.loss.network.item_embedding.isfinite().all()


@pytest.mark.parametrize(
    "wait", [float, bool, lambda x: x.nonzero(), lambda x: x[x > 0]]
)
def test_waiting_would_be_noticed(wait):
    with Strict(), pytest.raises(AssertionError):
        wait(torch.ones(1))


def two_steps(trainer):
    """Make two steps, each without the making of its batch; returns the losses."""
    batches = trainer._batches()
    losses = []
    for _ in range(2):
        parts = next(batches)
        with no_waits():
            losses.append(trainer._step(trainer.loss, *parts))
    return [float(loss) for loss in losses]


@pytest.mark.parametrize(
    ("name", "half"), [*((name, False) for name in sorted(OPTIONS)), ("default", True)]
)
def test_a_step_stays_on_its_gpu_and_learns_what_it_learns_on_the_host(name, half):
    """Gradients and the optimizer included, without waiting for the device."""
    host = made(fitted(name), half=half)
    expected = two_steps(host)
    with pretended_gpus():
        trainer = made(fitted(name), "cuda:1", half=half)
        found = two_steps(trainer)
        state = trainer.loss.network.state_dict()
        learned = {name: value.cpu() for name, value in state.items()}
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    for name, value in host.loss.network.state_dict().items():
        torch.testing.assert_close(
            learned[name], value, rtol=1e-4, atol=1e-5, msg=lambda t, n=name: n + t
        )


@pytest.mark.parametrize("fusion", get_fusion_names())
def test_every_fusion_stays_on_its_gpu(fusion):
    items, X, _ = table()
    rec = clone(fitted("default")).set_params(fusion=fusion)
    rec.set_params(catalog=ItemCatalog(items)).fit(X.head(40))
    expected = two_steps(made(rec))
    with pretended_gpus():
        found = two_steps(made(rec, "cuda:1", half=False))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_another_device_would_be_noticed():
    trainer = made(fitted("default"))
    batch, noise, _ = next(trainer._batches())
    with pretended_gpus(), pytest.raises(Mixed):
        made(fitted("default"), "cuda").loss(batch, noise)


@pytest.mark.gpu
def test_a_gpu_is_not_waited_for(request):
    for name in OPTIONS:
        trainer = made(fitted(name), "cuda")
        batches = trainer._batches()
        trainer._step(trainer.loss, *next(batches))  # the optimizer makes its state
        batch, noise, _ = next(batches)
        torch.cuda.set_sync_debug_mode("error")
        try:
            loss = trainer._step(trainer.loss, batch, noise)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert loss.isfinite(), name


# -- the parts -----------------------------------------------------------------------


def numbers(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_the_gradient_of_the_softmax():
    """As torch derives it, also for a row without any negative."""
    positive, negative, offsets = numbers(5), numbers(5, 7, seed=1), numbers(7, seed=2)
    excluded = numbers(5, 7, seed=3) > 0.5
    excluded[2] = True
    inputs = [x.requires_grad_() for x in (positive, negative, offsets)]
    assert torch.autograd.gradcheck(
        lambda *parts: sampled_softmax(*parts, excluded), inputs
    )
    logits = (negative + offsets).masked_fill(excluded, float("-inf"))
    whole = torch.cat([positive.unsqueeze(1), logits], dim=1)
    expected = torch.logsumexp(whole, dim=1) - positive
    found = sampled_softmax(*inputs, excluded)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert found[2] == 0


def test_the_softmax_of_half_precision_products():
    parts = [numbers(5).float(), numbers(5, 7, seed=1).bfloat16(), numbers(7).float()]
    inputs = [part.requires_grad_() for part in parts]
    sampled_softmax(*inputs, torch.zeros(5, 7, dtype=torch.bool)).sum().backward()
    assert [x.grad.dtype for x in inputs] == [x.dtype for x in inputs]


def test_weighted_squares():
    vectors, weights = numbers(6, 3).requires_grad_(), numbers(6, 1, seed=1).abs()
    assert torch.autograd.gradcheck(
        lambda x: weighted_squares(x, weights, 0.3), [vectors]
    )
    expected = 0.3 * (weights * vectors**2).sum()
    found = weighted_squares(vectors, weights, 0.3)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_both", [0, 1, 2, 6])
def test_contrast_among_those_that_have_both(n_both):
    """Those without one of the modalities are as if they were not there."""
    left, right = numbers(6, 4).requires_grad_(), numbers(6, 4, seed=1)
    rows = torch.arange(6) < n_both
    found = info_nce(left, right, 0.1, rows)
    found.sum().backward()
    expected = torch.zeros(6, dtype=torch.float64)
    expected[:n_both] = info_nce(left[:n_both], right[:n_both], 0.1).detach()
    torch.testing.assert_close(found.detach(), expected, rtol=1e-9, atol=1e-9)
    assert left.grad.isfinite().all()
    assert (left.grad[n_both:] == 0).all()


def test_alignment_is_the_mean_over_pairs_that_can_be_compared():
    """A pair of modalities that one item alone has tells nothing."""
    tokens, mask = numbers(5, 3, 4), torch.ones(5, 3, dtype=torch.bool)
    mask[1:, 2] = False
    found = _alignment(tokens, mask, torch.Generator())
    expected = info_nce(tokens[:, 0], tokens[:, 1], 0.1).mean()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
