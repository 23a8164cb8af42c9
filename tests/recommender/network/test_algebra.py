"""Linear algebra beside the training: an accelerator gives what the host gives.

Tensors on the CPU stand in for those of a GPU, so that values can be compared; tensors
that pretend to be on one show that nothing is mixed up and nothing waits for values.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sklearn.decomposition import PCA

from skmmrec.catalog import Blocks
from skmmrec.fusion import get_fusion, get_fusion_names
from skmmrec.interactions import History
from skmmrec.recommender._content_space import ContentSpace
from skmmrec.recommender._principal_axes import PresentRows, principal_axes
from skmmrec.recommender.cold_start import Expectation, find_noise
from skmmrec.recommender.cold_start._content import left_out_errors
from skmmrec.recommender.cold_start._kernels import Directions, kernels, weighed
from skmmrec.recommender.cold_start._noise import liked_together, mantel
from skmmrec.recommender.network import (
    AttentionTowerModule,
    FusionNetwork,
    ItemGraph,
    MeanTowerModule,
    NoTowerModule,
    VectorMaker,
    _inference,
    accelerator,
    place,
    row_blocks,
    spread_vectors,
    to_host,
    unit,
)
from skmmrec.recommender.training import HeldOut, judge_held_out
from skmmrec.recommender.training._validation import best_items
from tests.valueless import valueless_gpus

HOST_TORCH = torch.device("cpu")
GPU = pytest.param(torch.device("cuda"), marks=pytest.mark.gpu, id="cuda")
places = pytest.mark.parametrize(
    "where", [pytest.param(HOST_TORCH, id="torch on the CPU"), GPU]
)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Several pieces, where there would be one."""
    monkeypatch.setattr("skmmrec.recommender.network._algebra.ON_ACCELERATOR", 700)


def content_of(n, widths=(5, 3), seed=0):
    """Content in which something is missing everywhere."""
    rng = np.random.default_rng(seed)
    mask = rng.random((n, len(widths))) < 0.8
    values = {
        f"m{number}": (rng.normal(size=(n, width)) * mask[:, [number]]).astype("f4")
        for number, width in enumerate(widths)
    }
    return Blocks(values, mask)


def learned(n, seed=1):
    """Embeddings, fused content, biases and popularity."""
    rng = np.random.default_rng(seed)
    embeddings, fused = rng.normal(size=(2, n, 6))
    return embeddings, fused, rng.normal(size=(n, 2)), rng.integers(1, 50, n)


def history_of(n_users, n_items, seed=2):
    rng = np.random.default_rng(seed)
    table = rng.random((n_users, n_items)) < 0.2
    users, items = np.nonzero(table)
    return History.from_pairs(users, items, n_users, n_items)


def test_only_a_gpu_with_float64_computes():
    assert accelerator(torch.device("cpu")) is None
    assert accelerator(torch.device("mps")) is None
    assert accelerator(torch.device("cuda", 1)) == torch.device("cuda", 1)


@pytest.mark.parametrize("where", [None, HOST_TORCH])
@pytest.mark.parametrize("n", [0, 1, 699, 701, 5000])
def test_blocks_of_rows_are_all_rows(where, n):
    blocks = list(row_blocks(n, 3, where))
    assert len(blocks) >= 1
    assert [row for block in blocks for row in range(n)[block]] == list(range(n))


def test_what_cannot_be_written_is_copied():
    values = np.arange(3.0)
    values.flags.writeable = False
    placed = place(values, HOST_TORCH)
    placed += 1
    assert to_host(placed).tolist() == [1, 2, 3]
    assert values.tolist() == [0, 1, 2]
    assert place(values, None) is values


@places
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_vectors(where, dtype):
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(dtype)
    vectors[2] = 0
    vectors[3] *= 1e-30
    found = to_host(unit(place(vectors, where)))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, unit(vectors), rtol=1e-5, atol=1e-6)


# -- new items -----------------------------------------------------------------------


@places
@pytest.mark.parametrize("widths", [(4,), (5, 3), (4, 2, 6)])
def test_expectations_are_those_of_the_host(where, widths):
    content, parts = content_of(150, widths), learned(150)
    host = Expectation.fit(content, *parts)
    other = Expectation.fit(content, *parts, where)
    np.testing.assert_array_equal(other.shares, host.shares)
    np.testing.assert_allclose(
        other.coefficients, host.coefficients, rtol=1e-4, atol=1e-5
    )
    new, fused = content_of(40, widths, seed=5), parts[1][:40]
    for found, expected in zip(
        host.predict(new, fused, where), host.predict(new, fused), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_the_choice_of_shares_takes_one_inverse_for_both_parts(monkeypatch):
    content, parts = content_of(60), learned(60)
    inverses, invert = [], np.linalg.inv
    monkeypatch.setattr(
        np.linalg, "inv", lambda matrix: inverses.append(matrix) or invert(matrix)
    )
    Expectation.fit(content, *parts)
    assert len(inverses) == 5  # all alike, or one of two ahead by one of two factors


@pytest.mark.parametrize("is_alike", [False, True])
def test_vectors_and_biases_are_learned_as_if_alone(is_alike):
    """Whether they weigh the modalities alike or not."""
    content, popularity = content_of(200), learned(200)[3]
    said = np.tanh(content.values["m0"] @ np.ones((5, 6)))
    other = np.tanh(content.values["m1"] @ np.ones((3, 2)))
    embeddings, biases = said, said[:, :2] if is_alike else other
    nothing = np.zeros_like(said)
    both = Expectation.fit(content, embeddings, nothing, biases, popularity)
    assert (both.shares[0] == both.shares[1]).all() == is_alike
    for targets, columns, share in (
        (embeddings, slice(0, 6), both.shares[0]),
        (biases, slice(6, 8), both.shares[1]),
    ):
        alone = Expectation.fit(
            content, targets, np.zeros_like(targets), targets, popularity
        )
        np.testing.assert_array_equal(alone.shares[0], share)
        np.testing.assert_allclose(
            both.coefficients[:, columns],
            alone.coefficients[:, : targets.shape[1]],
            rtol=1e-4,
            atol=1e-5,
        )


# -- noise ---------------------------------------------------------------------------


@places
@pytest.mark.parametrize("seed", range(3))
def test_noise_is_what_it_is_on_the_host(where, seed):
    content, history = content_of(60, (4, 4), seed), history_of(80, 60, seed)
    items, lifts = liked_together(history)
    same, placed = liked_together(history, where)
    np.testing.assert_array_equal(items, same)
    np.testing.assert_allclose(to_host(placed), lifts, rtol=1e-12, atol=1e-12)
    directions = Directions.of(content.take(items), where)
    near = kernels(directions, directions)[0]
    found = mantel(near, placed)
    np.testing.assert_allclose(
        found, mantel(to_host(near), lifts), rtol=1e-9, atol=1e-12
    )
    found, expected = (find_noise(content, history, w) for w in (where, None))
    assert found.value == expected.value


@places
def test_a_constant_matrix_correlates_with_nothing(where):
    table = place(np.arange(25.0).reshape(5, 5), where)
    constant = place(np.full((5, 5), 0.1), where)
    assert mantel(constant, table) == mantel(table, constant) == (0, 0)


# -- principal axes ------------------------------------------------------------------


def vectors_of(n, d, seed=0):
    """Directions that vary much along some axes and little along others."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    values = rng.normal(size=(n, d)) * 0.7 ** np.arange(d) @ turn + 0.3
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@places
@pytest.mark.parametrize(
    ("n", "d", "solver"),
    [
        (400, 12, "covariance_eigh"),
        (3000, 40, "covariance_eigh"),
        (600, 90, "randomized"),
        (120, 600, "randomized"),
        (80, 30, "full"),
    ],
)
def test_axes_are_those_of_scikit_learn(where, n, d, solver):
    vectors, k = vectors_of(n, d), 6
    pca = PCA(k, random_state=0).fit(vectors)
    assert pca._fit_svd_solver == solver
    rows = PresentRows(vectors, np.arange(n), where)
    axes = principal_axes(rows, k)
    assert axes.dtype == np.float32
    np.testing.assert_allclose(axes, pca.components_, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(axes @ axes.T, np.eye(k), rtol=1e-5, atol=1e-5)


@places
def test_what_does_not_vary_has_no_axes(where):
    rows = PresentRows(np.zeros((700, 20), np.float32), np.arange(700), where)
    assert principal_axes(rows, 4) is None


@places
def test_content_is_brought_into_the_same_space(where):
    content = content_of(900, (30, 3))
    number = np.random.default_rng(3).normal(size=(900, 4))
    content = Blocks(
        {**content.values, "price": number},
        np.column_stack([content.mask, np.ones(900, bool)]),
        frozenset({"price"}),
    )
    host = ContentSpace.fit(content, 5)
    space = ContentSpace.fit(content, 5, where)
    assert space.widths == host.widths
    for name in host.means:
        np.testing.assert_allclose(
            space.means[name], host.means[name], rtol=1e-6, atol=1e-7
        )
    found, expected = host.transform(content, where), host.transform(content)
    np.testing.assert_array_equal(found.mask, expected.mask)
    for name, block in expected.values.items():
        assert found.values[name].dtype == np.float32
        np.testing.assert_allclose(found.values[name], block, rtol=1e-5, atol=1e-6)


# -- held-out likes ------------------------------------------------------------------

scores = st.sampled_from([-np.inf, -2.5, -1.0, -1e-30, -0.0, 0.0, 1e-30, 1.0, 7.0])


@settings(max_examples=60)
@given(st.data(), st.integers(1, 5), st.integers(1, 40), st.integers(1, 12))
def test_lists_are_those_of_the_host_ties_included(data, n_users, n_items, k):
    """Vectors of one factor, so that products are exact and many are equal."""
    items = np.array(data.draw(st.lists(scores, min_size=n_items, max_size=n_items)))
    items = np.where(np.isinf(items), -9, items).astype(np.float32)[:, None]
    users = np.ones((n_users, 1), np.float32)
    biases = np.zeros(n_items, np.float32)
    known = history_of(n_users, n_items, seed=k)
    host = best_items(users, items, biases, known, k)
    placed = (place(part, HOST_TORCH) for part in (users, items, biases))
    np.testing.assert_array_equal(best_items(*placed, known, k), host)
    order = np.where(known.to_csr(bool).toarray(), -np.inf, items[:, 0])
    expected = np.argsort(-order, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(host, expected)


@places
@pytest.mark.parametrize("metric", ["ndcg", "recall"])
def test_held_out_likes_are_judged_alike(where, metric):
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(30, 4)), rng.normal(size=(50, 4))
    biases, history = rng.normal(size=50), history_of(30, 50)
    hidden = rng.random(len(history.items)) < 0.3
    held = HeldOut(np.arange(30), history.where(~hidden), history.where(hidden))
    parts = [part.astype(np.float32) for part in (users, items, biases)]
    host = judge_held_out(metric, 10, *parts, held)
    other = judge_held_out(metric, 10, *(place(p, where) for p in parts), held)
    np.testing.assert_array_equal(other, host)
    for user in range(30):
        scores = items @ users[user] + biases
        scores[held.known.of(user)] = -np.inf
        found = np.isin(np.argsort(-scores)[:10], held.hidden.of(user)).sum()
        if metric == "recall" and len(held.hidden.of(user)):
            share = found / len(held.hidden.of(user))
            assert host[user] == pytest.approx(share, rel=1e-9, abs=1e-9)


# -- tensors that pretend to be on a GPU ---------------------------------------------


@pytest.fixture
def pretend():
    """Tensors without values: what asks for one, or mixes devices, raises."""
    with valueless_gpus() as mode:
        yield mode


CUDA = torch.device("cuda")


def test_similarities_stay_on_the_device(pretend):
    items = Directions.of(content_of(50), CUDA)
    landmarks = Directions.of(content_of(20), CUDA)
    near = weighed(kernels(items, landmarks), np.array([1.0, 0.5]))
    assert near.device.type == "cuda"
    assert near.shape == (50, 20)
    targets = [place(np.ones((20, 3)), CUDA)]
    kernel = weighed(kernels(landmarks, landmarks), np.array([1.0, 0.5]))
    (error,) = left_out_errors(kernel, targets, place(np.ones(20), CUDA))
    assert error.device.type == "cuda"


def test_co_likes_are_counted_on_the_device(pretend):
    _, lifts = liked_together(history_of(80, 60), CUDA)
    assert lifts.device.type == "cuda"
    assert lifts.dtype == torch.float64


def test_lists_are_fetched_once(pretend, monkeypatch):
    fetched = []
    monkeypatch.setattr(
        "skmmrec.recommender.training._validation.to_host", fetched.append
    )
    vectors = (np.ones((30, 4)), np.ones((50, 4)), np.ones(50))
    placed = (place(part.astype(np.float32), CUDA) for part in vectors)
    best_items(*placed, history_of(30, 50), 10)
    (lists,) = fetched
    assert lists.device.type == "cuda"
    assert lists.shape == (30, 10)


@pytest.fixture
def at_rest(pretend, monkeypatch):
    """A fake parameter cannot be moved in its module: networks are there already."""
    monkeypatch.setattr(_inference, "_at_rest", lambda module, where: module)
    # Reductions over segments have no fake; their shape is all that is needed.
    monkeypatch.setattr(
        torch,
        "segment_reduce",
        lambda data, _, offsets: data.new_zeros(len(offsets) - 1),
    )
    torch.set_default_dtype(torch.float64)
    with torch.device("cuda"):
        yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("fusion", get_fusion_names())
def test_items_are_made_on_the_device(at_rest, fusion):
    content = content_of(12)
    network = FusionNetwork(12, get_fusion(fusion)([5, 3], 8), MeanTowerModule(8))
    items = VectorMaker([network, network], CUDA).item_tensor(
        np.arange(-1, 11), content
    )
    assert (items.device.type, items.dtype) == ("cuda", torch.float64)
    assert items.shape == (12, 16)
    graph = ItemGraph(np.zeros((12, 3), np.int64), np.ones((12, 3), np.float32))
    spread = spread_vectors(items, items, graph, 0.5)
    assert (spread.device.type, spread.shape) == ("cuda", items.shape)


@pytest.mark.parametrize("half_life", [None, 2.0])
@pytest.mark.parametrize(
    "tower",
    [MeanTowerModule, AttentionTowerModule, NoTowerModule],
)
def test_users_are_made_on_the_device(at_rest, tower, half_life):
    exponent = () if tower is NoTowerModule else (0.5,)
    network = FusionNetwork(
        12,
        None,
        tower(8, *exponent),
        n_users=5,
        user_fusion=get_fusion("concat")([5, 3], 8),
    )
    users = VectorMaker([network], CUDA).user_tensor(
        np.ones((12, 8), np.float32),
        history_of(5, 12),
        np.arange(5),
        content_of(5),
        half_life,
    )
    assert (users.device.type, users.dtype) == ("cuda", torch.float32)
    assert users.shape == (5, 8)
