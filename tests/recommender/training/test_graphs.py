"""Recorded steps: padding changes nothing, and a recording learns as steps do."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from torch.utils._python_dispatch import TorchDispatchMode

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.fusion import get_fusion_names
from skmmrec.recommender import EarlyStopping, Training, _estimator
from skmmrec.recommender.training import (
    _batches as batches_module,
    _graphs,
    _loop,
    _padding,
)
from skmmrec.recommender.training._padding import Padded, Sizes
from skmmrec.recommender.training._trial import MIN_TRIED
from tests.recommender.training.tape import TapeRecorder
from tests.recommender.training.test_step import N_USERS, OPTIONS, fitted, made, table

# Sums of more numbers, in another order.
RTOL, ATOL = 1e-4, 1e-6
RECORDED = sorted(set(OPTIONS) - {"alignment", "sequence"})


def gradients(trainer, batch, noise):
    """Loss of a batch, and the gradient of each parameter."""
    trainer.loss.zero_grad()
    loss = trainer.loss(batch, noise)
    loss.backward()
    named = trainer.loss.network.named_parameters()
    return loss.detach(), {name: p.grad for name, p in named if p.grad is not None}


def assert_same_gradients(found, expected):
    torch.testing.assert_close(found[0], expected[0], rtol=RTOL, atol=ATOL)
    assert set(found[1]) == set(expected[1])
    for name, gradient in expected[1].items():
        torch.testing.assert_close(
            found[1][name],
            gradient,
            rtol=RTOL,
            atol=ATOL,
            msg=lambda text, name=name: name + text,
        )


def padded_steps(trainer, room):
    """Batches of a trainer, with the same ones padded: one tensor takes all of them."""
    # A dozen batches, of ten sizes or more.
    steps = [step[:2] for step in islice(trainer._batches(), 12)]
    largest = Sizes.largest([Sizes.of(batch) for batch, _ in steps])
    sizes = Sizes(*(n + more for n, more in zip(largest, room, strict=True)))
    has_embeddings = len(trainer.loss.network.user_embedding) > 0
    padded = Padded(*steps[0], sizes, has_embeddings)
    for batch, noise in steps:
        padded.fill(batch, noise)
        yield (batch, noise), (padded.batch, padded.noise)


@pytest.mark.parametrize("room", [(0, 0, 0, 0), (3, 2, 9, 50)])
@pytest.mark.parametrize("name", RECORDED)
def test_padding_changes_nothing(name, room):
    trainer = made(fitted(name))
    n_steps = 0
    for plain, padded in padded_steps(trainer, room):
        expected = gradients(trainer, *plain)
        assert_same_gradients(gradients(trainer, *padded), expected)
        n_steps += 1
    assert n_steps > 2


@pytest.mark.parametrize("room", [(0, 0, 0, 0), (5, 5, 7, 100)])
def test_entries_of_the_padding_are_shared_out(room):
    """Each history of the padding has its part of them, and all of them an owner."""
    trainer = made(fitted("default"))
    for (batch, _), (padded, _) in padded_steps(trainer, room):
        offsets, n_users = padded.past.offsets, len(batch.users)
        assert torch.equal(offsets[: n_users + 1], batch.past.offsets)
        assert int(offsets[-1]) == len(padded.past.items)
        lengths = offsets.diff()[n_users:]
        fair = -(-int(lengths.sum()) // len(lengths))
        assert int(lengths.min()) >= 0
        assert int(lengths.max()) <= fair


def test_room_is_made_within_bounds():
    sizes = Sizes(100, 100, 31, 800)
    assert sizes.roomy(Sizes(104, 1000, 33, 10**6)) == (104, 112, 33, 904)
    assert sizes.roomy(sizes) == sizes


@pytest.fixture
def record(monkeypatch):
    """Train with recorded steps, on the CPU; returns the recorder besides."""

    def record(trainer, **options):
        recorder = TapeRecorder()
        with monkeypatch.context() as patch:
            patch.setattr(_loop, "reason_against", lambda loss, opt, n: None)
            patch.setattr(_loop, "CudaRecorder", lambda device: recorder)
            return trained(trainer, **options), recorder

    return record


@pytest.fixture
def record_all(monkeypatch):
    """Let all trainings from now on record; returns the recorders to come."""

    def record_all():
        recorders = []

        def recorder(device):
            recorders.append(TapeRecorder())
            return recorders[-1]

        monkeypatch.setattr(_loop, "reason_against", lambda loss, opt, n: None)
        monkeypatch.setattr(_loop, "CudaRecorder", recorder)
        # On a CPU, a fit refuses what it has not.
        monkeypatch.setattr(_estimator, "refuse_idle", lambda plan, model: None)
        return recorders

    return record_all


def trained(trainer, n_epochs=2, after_step=None, cuda_graphs=True, **options):
    """Losses of some epochs, and what was learned."""
    options |= {"epochs": n_epochs, "cuda_graphs": cuda_graphs}
    trainer.options = replace(trainer.options, **options)
    trainer.optimizer = trainer._make_optimizer()
    trainer.after_step = after_step and (lambda: after_step(trainer))
    losses = [epoch.loss for epoch in trainer.run()]
    return losses, trainer.loss.network.state_dict()


@pytest.fixture(scope="module")
def plain():
    """What plain steps learn by the default options."""
    return trained(made(fitted("default")), cuda_graphs=False)


@pytest.fixture(scope="module")
def plain_in_pairs():
    """The same, where the parts of two steps are drawn at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches_module, "MAX_STEPS", 2)
        return trained(made(fitted("default")), cuda_graphs=False)


def assert_same_training(found, expected):
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-6)
    assert set(found[1]) == set(expected[1])
    for name, value in expected[1].items():
        # A softmax does not depend on the bias of its keys: what moves it is rounding.
        if not name.endswith("in_proj_bias"):
            torch.testing.assert_close(
                found[1][name], value, rtol=1e-2, atol=1e-3, msg=lambda t, n=name: n + t
            )


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_learns_as_steps_do(name, record):
    """Rates and the last steps of epochs included."""
    expected = trained(made(fitted(name)), id_decay=0.01)
    trainer = made(fitted(name))
    found, recorder = record(trainer, id_decay=0.01)
    assert_same_training(found, expected)
    assert recorder.n_replays > trainer.steps_per_epoch
    assert trainer.graphs.n_recordings < 4
    assert trainer.graphs.padded is None
    assert trainer.graphs.replay is None


@pytest.mark.parametrize("fusion", get_fusion_names())
def test_every_fusion(fusion, record):
    rec = fitted("default")
    rec = clone(rec).set_params(fusion=fusion).fit(*table()[1:2])
    expected = trained(made(rec))
    assert_same_training(record(made(rec))[0], expected)


@pytest.mark.parametrize(
    "options",
    [
        {"clip_norm": 0.05},
        {"half": True},
        {"shared_rate": 0.1, "warmup": 0.5},
        {"averaging": 1.0},
    ],
    ids=["clipped", "half", "shared rate", "averaged"],
)
def test_settings_of_the_loop(options, record):
    expected = trained(made(fitted("default")), **options)
    found, _ = record(made(fitted("default")), **options)
    if "half" in options:
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-2, atol=1e-3)
    else:
        assert_same_training(found, expected)


def test_the_prior_changes_between_steps(record, plain):
    """As in a trial, without another recording."""

    def change(trainer):
        trainer.optimizer.set_id_decay(0.1 * (trainer.optimizer.n_steps % 3))

    expected = trained(made(fitted("default")), after_step=change)
    trainer = made(fitted("default"))
    found, _ = record(trainer, after_step=change)
    assert_same_training(found, expected)
    assert trainer.graphs.n_recordings < 4
    assert not torch.allclose(
        plain[1]["item_embedding"], found[1]["item_embedding"], rtol=1e-3, atol=1e-3
    )


def test_a_whole_fit(record_all):
    """With its trial, which changes the prior, and what early stopping judges."""
    items, X, _ = table()
    X = pd.concat([X, X.assign(user_id=X.user_id + N_USERS)] * 2).drop_duplicates()
    X = pd.concat([X, X.assign(user_id=X.user_id + 2 * N_USERS)])
    rec = MultimodalFusionRecommender(
        ItemCatalog(items),
        n_factors=8,
        random_state=0,
        early_stopping=EarlyStopping(),
        training=Training(max_epochs=4, batch_size=64, n_negatives=16),
    )
    assert len(X) > MIN_TRIED
    plain = clone(rec).fit(X)
    recorders = record_all()
    rec.set_params(training__cuda_graphs=True).fit(X)
    assert len(recorders) == 2
    assert all(recorder.n_replays > 20 for recorder in recorders)
    assert rec.id_l2_ == pytest.approx(plain.id_l2_, rel=1e-3, abs=1e-6)
    for curve in ("loss_curve_", "validation_curve_"):
        found, expected = getattr(rec, curve), getattr(plain, curve)
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)


def test_what_does_not_fit_is_recorded_anew(record, plain_in_pairs, monkeypatch):
    """A few times; then steps are made as ever."""
    monkeypatch.setattr(_padding, "ROOM", 0)
    monkeypatch.setattr(_padding, "MULTIPLE", 1)
    monkeypatch.setattr(batches_module, "MAX_STEPS", 2)
    trainer = made(fitted("default"))
    found, _ = record(trainer)
    assert 1 < trainer.graphs.n_recordings <= _graphs.MOST_RECORDINGS
    assert_same_training(found, plain_in_pairs)
    monkeypatch.setattr(_graphs, "MOST_RECORDINGS", 1)
    trainer = made(fitted("default"))
    found, recorder = record(trainer)
    assert trainer.graphs.n_recordings == 1
    assert recorder.n_replays > 0
    assert_same_training(found, plain_in_pairs)


NOT_PERMITTED = "operation not permitted when stream is capturing"


class Fails(TorchDispatchMode):
    """Stops at one of the operations, as one that cannot be recorded."""

    def __init__(self, at):
        super().__init__()
        self.left = at

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not self.left:
            raise RuntimeError(NOT_PERMITTED)
        self.left -= 1
        return func(*args, **(kwargs or {}))


class FailingRecorder(TapeRecorder):
    """Fails at one of its recordings, within the step, of which nothing is left."""

    def __init__(self, trainer, failing, at=0):
        super().__init__()
        self.trainer, self.failing, self.at = trainer, failing, at
        self.n_records = 0

    def record(self, step):
        self.n_records += 1
        if self.n_records != self.failing:
            return super().record(step)
        network, adam = self.trainer.loss.network, self.trainer.optimizer.adam
        kept = deepcopy((network.state_dict(), adam.state_dict()))
        try:
            with Fails(self.at):
                step()
        finally:
            network.load_state_dict(kept[0])
            adam.load_state_dict(kept[1])
        raise RuntimeError(NOT_PERMITTED)


@pytest.fixture
def recorded_by(monkeypatch, caplog):
    """Train by a recorder, on the CPU; returns the warnings besides."""

    def recorded_by(trainer, recorder, **options):
        monkeypatch.setattr(_loop, "reason_against", lambda loss, opt, n: None)
        monkeypatch.setattr(_loop, "CudaRecorder", lambda device: recorder)
        result = trained(trainer, **options)
        return result, [r for r in caplog.records if r.levelname == "WARNING"]

    return recorded_by


def assert_went_on(trainer, warnings, found, expected):
    """No step was lost, and none made twice."""
    assert_same_training(found, expected)
    assert trainer.optimizer.n_steps == trainer.n_steps
    assert trainer.graphs.padded is None
    assert trainer.graphs.replay is None
    (warning,) = warnings
    assert "goes on without CUDA graphs" in warning.getMessage()
    assert warning.exc_info


@pytest.mark.parametrize(
    ("failing", "at", "wanted"),
    [(1, 0, "auto"), (1, 20, True), (1, 10**6, "auto"), (2, 20, "auto"), (3, 0, True)],
)
def test_a_recording_that_fails_ends_no_training(
    failing, at, wanted, recorded_by, plain_in_pairs, monkeypatch
):
    """Be it the first or a later one, and wherever in the step it fails."""
    monkeypatch.setattr(_padding, "ROOM", 0)
    monkeypatch.setattr(_padding, "MULTIPLE", 1)
    monkeypatch.setattr(batches_module, "MAX_STEPS", 2)
    trainer = made(fitted("default"))
    recorder = FailingRecorder(trainer, failing, at)
    found, warnings = recorded_by(trainer, recorder, cuda_graphs=wanted)
    assert_went_on(trainer, warnings, found, plain_in_pairs)
    assert recorder.n_records == failing
    assert (recorder.n_replays > 0) == (failing > 1)


class FailingLaunches(TapeRecorder):
    """Launches so often, and then no more. (A tape ran its first launch when made.)"""

    def __init__(self, n_launches):
        super().__init__()
        self.n_launches = n_launches

    def record(self, step):
        launch = super().record(step)

        def replay():
            if self.n_replays == self.n_launches:
                raise RuntimeError("CUDA error: out of memory")
            launch()

        return replay


@pytest.mark.parametrize("n_launches", [1, 2, 7])
def test_a_launch_that_fails_ends_no_training(n_launches, recorded_by, plain):
    """It has not begun."""
    trainer, recorder = made(fitted("default")), FailingLaunches(n_launches)
    found, warnings = recorded_by(trainer, recorder, cuda_graphs="auto")
    assert_went_on(trainer, warnings, found, plain)
    assert recorder.n_replays == n_launches


class FailingRuns(TapeRecorder):
    """Fails at an operation of the step that is run before one is recorded."""

    def __init__(self, at):
        super().__init__()
        self.mode = Fails(at)

    def run(self, step):
        with self.mode:
            super().run(step)


def test_the_step_before_a_recording_may_fail_before_it_changes_anything(
    recorded_by, plain
):
    trainer, recorder = made(fitted("default")), FailingRuns(20)
    found, warnings = recorded_by(trainer, recorder, cuda_graphs="auto")
    assert_went_on(trainer, warnings, found, plain)


def test_a_step_that_fails_half_done_is_an_error(recorded_by):
    """It must not be made twice."""
    counting = FailingRuns(10**6)
    recorded_by(made(fitted("default")), counting, cuda_graphs="auto")
    n_operations = 10**6 - counting.mode.left
    with pytest.raises(RuntimeError, match=NOT_PERMITTED):
        recorded_by(
            made(fitted("default")), FailingRuns(n_operations - 1), cuda_graphs="auto"
        )


@pytest.mark.parametrize("wanted", ["auto", False])
def test_a_device_without_graphs_is_no_error_unless_they_are_asked_for(wanted, caplog):
    caplog.set_level("DEBUG", logger="skmmrec.recommender")
    trainer = made(fitted("default"))
    trained(trainer, cuda_graphs=wanted)
    assert trainer.graphs is None
    said = [r.levelname for r in caplog.records if "no CUDA graphs" in r.getMessage()]
    assert said == (["DEBUG"] if wanted else [])


def test_graphs_are_the_default():
    assert Training().cuda_graphs == "auto"


def test_it_is_told_why_steps_are_not_recorded(monkeypatch):
    trainer = made(fitted("default"))
    loss, optimizer = trainer.loss, trainer.optimizer
    assert "no CUDA graphs" in _graphs.reason_against(loss, optimizer, 100)
    assert _graphs.unrecordable(loss, optimizer) is None
    trainer = made(fitted("alignment"))
    assert "alignment" in _graphs.unrecordable(trainer.loss, optimizer)
    trainer = made(fitted("sequence"))
    assert "sequence tower" in _graphs.unrecordable(trainer.loss, optimizer)
    loss.draws_unseen = True
    assert "not of this package" in _graphs.unrecordable(loss, optimizer)
    loss.draws_unseen = False
    monkeypatch.setattr(type(optimizer), "lazy", {"items": None})
    assert "row by row" in _graphs.unrecordable(loss, optimizer)


class Driver:
    """What PyTorch keeps of recordings, by the rules of its `CUDAGraph`."""

    def __init__(self):
        self.recorded_into, self.released, self.n_pools = set(), [], 0
        self.is_invalid = self.generator_is_recorded = False
        self.fails_at_the_end = False

    def graph(driver):
        class Graph:
            def capture_begin(self, pool, capture_error_mode):
                assert capture_error_mode == "thread_local"
                self.pool = pool
                driver.generator_is_recorded = True
                driver.recorded_into.add(pool)

            def capture_end(self):
                if driver.is_invalid:
                    driver.is_invalid = False
                    raise RuntimeError(NOT_PERMITTED)
                driver.end(0, self.pool)
                driver.generator_is_recorded = False
                if driver.fails_at_the_end:
                    driver.fails_at_the_end = False
                    raise RuntimeError("out of memory")

            def replay(self):
                pass

        return Graph()

    def pool(self):
        self.n_pools += 1
        return (0, self.n_pools)

    def end(self, index, pool):
        if pool not in self.recorded_into:
            raise RuntimeError("not currently recording to mempool_id")
        self.recorded_into.remove(pool)

    def release(self, index, pool):
        assert pool not in self.recorded_into
        self.released.append(pool)


@pytest.fixture
def driver(monkeypatch):
    """Stand in for CUDA, on the CPU."""
    driver = Driver()
    stream = SimpleNamespace(synchronize=lambda: None, device=SimpleNamespace(index=0))
    fakes = {
        "Stream": lambda device: stream,
        "stream": lambda stream: nullcontext(),
        "current_stream": lambda device: stream,
        "CUDAGraph": driver.graph,
        "graph_pool_handle": driver.pool,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", driver.end, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", driver.release, raising=False)
    return driver


def invalidate(driver, raises):
    def step():
        driver.is_invalid = True
        if raises:
            raise ValueError("in the step")

    return step


@pytest.mark.parametrize("raises", [True, False])
def test_a_recording_that_fails_leaves_nothing_behind(driver, raises):
    """`capture_end` tells the allocator and the generator nothing then."""
    recorder = _graphs.CudaRecorder(torch.device("cpu"))
    with pytest.raises((ValueError, RuntimeError)):
        recorder.record(invalidate(driver, raises))
    assert driver.recorded_into == set()
    assert driver.released == [(0, 1)]
    assert not driver.generator_is_recorded
    recorder.record(lambda: None)()
    assert driver.released == [(0, 1)]


def test_a_graph_that_is_recorded_but_not_made_gives_its_memory_back_itself(driver):
    """To give it back twice would end the process."""
    driver.fails_at_the_end = True
    with pytest.raises(RuntimeError, match="out of memory"):
        _graphs.CudaRecorder(torch.device("cpu")).record(lambda: None)
    assert driver.recorded_into == set()
    assert driver.released == []


# -- on a device ---------------------------------------------------------------------


@pytest.fixture
def on_cuda():
    """Train on the device, by recorded steps or not."""

    def on_cuda(name, are_used, **options):
        trainer = made(fitted(name), "cuda")
        return trained(trainer, cuda_graphs=are_used, **options), trainer.graphs

    return on_cuda


@pytest.mark.gpu
@pytest.mark.parametrize("name", RECORDED)
def test_graphs_learn_as_steps_do(name, on_cuda):
    expected, nothing = on_cuda(name, are_used=False)
    found, graphs = on_cuda(name, are_used=True)
    assert nothing is None
    assert 0 < graphs.n_recordings < 4
    assert_same_training(found, expected)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["default", "several tasks", "graph"])
def test_a_training_by_graphs_is_reproducible(name, on_cuda):
    first, _ = on_cuda(name, are_used=True, half=True)
    second, _ = on_cuda(name, are_used=True, half=True)
    assert first[0] == second[0]
    for parameter, value in first[1].items():
        assert torch.equal(value, second[1][parameter]), parameter


@pytest.mark.gpu
def test_the_device_is_as_before_after_a_recording_that_fails():
    """Random numbers can be drawn, memory is free, and what follows is recorded."""
    device = torch.device("cuda")
    recorder, values = _graphs.CudaRecorder(device), torch.ones(2**20, device=device)
    before = torch.cuda.memory_allocated()

    def step():
        float((values * 2).sum())  # waits for the device, which cannot be recorded

    for _ in range(2):
        with pytest.raises(RuntimeError):
            recorder.record(step)
    torch.rand(3, device=device)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() == before
    recorder.record(lambda: values.add_(1))()
    recorder.wait()
    assert float(values.sum()) == 2 * len(values)


@pytest.mark.gpu
def test_trainings_side_by_side(on_cuda):
    """In threads, each learns what it learns alone."""
    alone, _ = on_cuda("default", are_used=True, n_epochs=8)
    trainers = [made(fitted("default"), "cuda") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda t: trained(t, n_epochs=8), trainers))
    for trainer, (losses, state) in zip(trainers, together, strict=True):
        assert losses == alone[0]
        assert trainer.graphs.n_recordings > 0
        assert torch.equal(state["item_embedding"], alone[1]["item_embedding"])


@pytest.mark.gpu
def test_the_device_is_not_waited_for_between_graphs(on_cuda):
    """Neither copies of batches nor launches."""
    trainer = made(fitted("default"), "cuda")
    trainer.options = replace(trainer.options, epochs=4, cuda_graphs=True)
    trainer.optimizer = trainer._make_optimizer()
    trainer.graphs = trainer._make_graphs()
    steps = trainer._batches()
    for _ in range(2):  # one is run, one is recorded
        trainer._step(trainer.loss, *next(steps))
    batch, noise, _ = next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = trainer._step(trainer.loss, batch, noise)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert loss.isfinite()
    assert trainer.graphs.replay is not None
