"""What items of a history say of others, served from the store."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.feature_store import (
    OnlineRecommender,
    delete_ids,
    embedding_definitions,
    open_store,
    publish,
    recommend_after,
    rollback,
    verify,
)
from skmmrec.feature_store.backends import backend_of
from skmmrec.recommender import StoredVectors
from skmmrec.recommender.memory import ItemMemory
from skmmrec.retrieval import ApproximateIndex

from .test_fold_in import history_model

CLOSE = 1e-5


def lists(n_items, k=5, seed=1):
    """Lists of different lengths, some empty, with weights of both signs."""
    rng = np.random.default_rng(seed)
    neighbors = np.full((n_items, k), -1, np.int32)
    for item in range(n_items):
        length = rng.integers(0, k + 1)
        neighbors[item, :length] = rng.permutation(n_items)[:length]
    weights = rng.normal(scale=2, size=neighbors.shape).astype(np.float32)
    weights[neighbors < 0] = 0
    return ItemMemory(neighbors, weights, 0.5)


def remembering(version="v1", k=5, half_life=None, **options):
    """A model whose users are sums of items, with a memory; some items are disliked."""
    model = history_model(version=version, **options)
    vectors, memory = model.vectors, lists(len(model.vectors.items), k)
    seen = vectors.seen.map(list)
    disliked = pd.Series([[20, 7], [3]], index=[2, 4])
    sizes = seen.map(len)
    for user, others in disliked.items():
        seen[user] = [i for i in seen[user] if i not in others] + others
        sizes[user] = len(seen[user]) - len(others)
    model.vectors = replace(
        vectors,
        seen=seen,
        history_exponent=0.7,
        history_half_life=half_life,
        history_sizes=sizes,
        memory=replace(memory, half_life=half_life),
        disliked=disliked,
    )
    return with_users_of(model)


def with_users_of(model):
    """Make the users those of their histories."""
    vectors = model.vectors
    users = vectors.users.copy()
    for user in users.index:
        users.loc[user] = vector_of(model, liked_by(model, user))
    model.vectors = replace(vectors, users=users)
    return model


def liked_by(model, user):
    others = model.vectors.disliked.get(user, [])
    return [item for item in model.vectors.seen[user] if item not in others]


def counts_of(model, liked):
    """How much each item of a history counts, oldest first."""
    age = np.arange(len(liked))[::-1]
    return 0.5 ** (age / (model.vectors.history_half_life or np.inf))


def vector_of(model, liked):
    items = model.vectors.items.to_numpy(np.float64)
    vector = np.zeros(items.shape[1])
    if liked:
        counts = counts_of(model, liked)
        vector[:-1] = counts @ items[liked, :-1] / counts.sum() ** 0.7
    vector[-1] = 1
    return vector.astype(np.float32)


def scores_of(model, liked, gone=()):
    """Scores by brute force, of whoever has liked some items (numbers from 0)."""
    vectors = model.vectors
    scores = vectors.items.to_numpy(np.float64) @ vector_of(model, liked)
    memory = vectors.memory
    counts = counts_of(model, liked)
    for item, count in zip(liked, counts, strict=True):
        if item in gone:
            continue
        for other, weight in zip(
            memory.neighbors[item], memory.weights[item], strict=True
        ):
            if other >= 0:
                scores[other] += count * weight / counts.sum() ** memory.exponent
    return pd.Series(scores, vectors.items.index).drop(list(gone))


def check(found, scores, left_out, k):
    best = scores.drop(left_out).sort_values(ascending=False, kind="stable")[:k]
    assert found["item_id"].tolist() == best.index.tolist()
    np.testing.assert_allclose(found["score"], best, rtol=CLOSE, atol=CLOSE)


def check_users(online, model, users=range(8), k=6):
    for user in users:
        scores = scores_of(model, liked_by(model, user))
        check(online.recommend([user], k=k), scores, model.vectors.seen[user], k)


# -- lists ---------------------------------------------------------------------------


@pytest.mark.parametrize("half_life", [None, 1.5])
def test_lists_are_by_vectors_and_memory(repo, half_life):
    model = remembering(half_life=half_life)
    publish(model, repo)
    online = OnlineRecommender(repo)
    check_users(online, model)
    check_users(online, model)  # with the lists in memory
    together = online.recommend(range(8), k=6)
    for user, rows in together.groupby("user_id"):
        alone = OnlineRecommender(repo).recommend([user], k=6)
        assert rows["item_id"].tolist() == alone["item_id"].tolist()
    assert verify(model, repo).ok
    assert verify(repo).ok


def test_the_memory_makes_a_difference(repo):
    model = remembering()
    publish(model, repo)
    with_it = OnlineRecommender(repo).recommend(range(8), k=6)
    model.vectors = replace(
        model.vectors, memory=None, disliked=None, version="without"
    )
    publish(model, repo)
    without = OnlineRecommender(repo).recommend(range(8), k=6)
    assert with_it["item_id"].tolist() != without["item_id"].tolist()
    assert verify(model, repo).ok


def test_ids_may_be_texts(repo):
    model = remembering()
    vectors = model.vectors

    def named(ids):
        return [f"i{n:02}" for n in ids]

    model.vectors = replace(
        vectors,
        items=vectors.items.set_axis(named(vectors.items.index)),
        seen=vectors.seen.map(named),
        disliked=vectors.disliked.map(named),
    )
    publish(model, repo)
    assert verify(model, repo).ok
    model.vectors, online = vectors, OnlineRecommender(repo)
    for user in range(8):
        found = online.recommend([user], k=6)
        numbers = found.assign(item_id=found["item_id"].str[1:].astype(int))
        check(numbers, scores_of(model, liked_by(model, user)), vectors.seen[user], 6)


def test_rows_may_come_in_any_order(repo):
    """Positions of a memory are those of the rows that are given."""
    model = remembering()
    order = np.random.default_rng(3).permutation(len(model.vectors.items))
    place = np.argsort(order)
    memory = model.vectors.memory
    neighbors = np.where(memory.neighbors < 0, -1, place[memory.neighbors])[order]
    moved = ItemMemory(neighbors.astype(np.int32), memory.weights[order], 0.5)
    other = remembering()
    other.vectors = replace(
        model.vectors, items=model.vectors.items.iloc[order], memory=moved
    )
    publish(other, repo)
    check_users(OnlineRecommender(repo), model)
    assert verify(model, repo).ok


@pytest.mark.parametrize(
    "chosen",
    [{"items": [1, 2, 3, 5, 8, 13]}, {"where": "price < 9"}, {"category": "a"}],
)
def test_filters_choose_among_the_same_scores(repo, chosen):
    model = remembering()
    prices = pd.DataFrame({"price": range(25)})
    kinds = dict(enumerate("abcde" * 5))
    publish(model, repo, features=prices, categories=kinds)
    allowed = {
        "items": [1, 2, 3, 5, 8, 13],
        "where": list(range(9)),
        "category": list(range(0, 25, 5)),
    }[next(iter(chosen))]
    online = OnlineRecommender(repo)
    for user in (1, 4, 6):
        scores = scores_of(model, liked_by(model, user))[allowed]
        found = online.recommend([user], k=5, exclude_seen=False, **chosen)
        check(found, scores, [], 5)


def test_few_items_to_choose_from_have_the_memory_too(repo):
    """Where they are few, only their rows are compared."""
    model = remembering(n_items=60)
    publish(model, repo)
    online, few = OnlineRecommender(repo), [7, 20, 31, 44]
    for user in range(8):
        scores = scores_of(model, liked_by(model, user))[few]
        options = {"k": 4, "items": few, "exclude_seen": False}
        check(online.recommend([user], **options), scores, [], 4)


@pytest.mark.parametrize("half_life", [None, 1.5])
def test_somebody_without_an_id_has_a_memory_too(repo, half_life):
    model = remembering(half_life=half_life)
    publish(model, repo)
    history = [4, 11, 2]
    found = OnlineRecommender(repo).recommend_from_history(history, k=8)
    check(found, scores_of(model, history), history, 8)


@pytest.mark.parametrize("half_life", [None, 1.5])
def test_a_history_with_repeats_is_that_of_who_is_recorded(repo, half_life):
    publish(remembering(half_life=half_life), repo)
    online, rng = OnlineRecommender(repo), np.random.default_rng(0)
    for user in range(100, 106):
        history = rng.integers(0, 5, 8).tolist()
        for item in history:
            online.record(user, item)
        found = online.recommend_from_history(history, k=9)
        wanted = online.recommend(user, k=9)
        assert found["item_id"].tolist() == wanted["item_id"].tolist()
        score = wanted["score"]
        np.testing.assert_allclose(found["score"], score, rtol=CLOSE, atol=CLOSE)


def test_the_popular_are_by_their_biases_alone(repo):
    model = remembering()
    publish(model, repo)
    found = OnlineRecommender(repo, unknown="popular").recommend(99, k=5)
    check(found, model.vectors.items[3], [], 5)


# -- what is written -----------------------------------------------------------------


@pytest.mark.parametrize("half_life", [None, 1.5])
def test_a_like_moves_the_memory_at_once(repo, half_life):
    model = remembering(half_life=half_life)
    publish(model, repo)
    online = OnlineRecommender(repo)
    check_users(online, model, [4])
    liked, met = liked_by(model, 4), model.vectors.seen[4]
    assert online.record(4, 11)
    check(online.recommend(4, k=6), scores_of(model, [*liked, 11]), [*met, 11], 6)
    assert not online.record(4, 12, 0.0)  # disliked: it says nothing
    left_out = [*met, 11, 12]
    check(online.recommend(4, k=6), scores_of(model, [*liked, 11]), left_out, 6)
    check(
        OnlineRecommender(repo).recommend(4, k=6),
        scores_of(model, [*liked, 11]),
        left_out,
        6,
    )
    online.record(99, 12, -1.0)  # a new user
    online.record(99, 8)
    check(online.recommend(99, k=6), scores_of(model, [8]), [8, 12], 6)


def test_a_like_counts_where_vectors_are_no_sums(repo):
    model = remembering()
    vectors = model.vectors
    noise = np.random.default_rng(5).normal(size=vectors.users.shape)
    users = vectors.users + noise.astype(np.float32)
    model.vectors = replace(vectors, users=users, history_exponent=None)
    publish(model, repo)
    online = OnlineRecommender(repo)
    before = online.recommend(4, k=25, exclude_seen=False)
    looked = recommend_after(online, 4, [11], k=6)
    with pytest.raises(ValueError, match="a like shows after the next fit"):
        recommend_after(online, 99, [11])
    assert online.record(4, 11)
    recorded = online.recommend(4, k=6).drop(columns="user_id")
    pd.testing.assert_frame_equal(looked, recorded)
    after = online.recommend(4, k=25, exclude_seen=False)
    own = vectors.items.to_numpy() @ users.loc[4].to_numpy()
    for found, liked in ((before, []), (after, [11])):
        liked = [*liked_by(model, 4), *liked]
        memory = scores_of(model, liked) - vectors.items @ vector_of(model, liked)
        check(found, memory + own, [], 25)


def test_items_that_are_added_say_nothing(repo):
    model = remembering()
    publish(model, repo)
    online = OnlineRecommender(repo)
    check_users(online, model)
    vector = np.full((1, 3), 0.5, np.float32)
    online.add_items([77], vector, 0.25)
    online.record(1, 77)
    found = online.recommend(1, k=25)
    liked = liked_by(model, 1)
    items = model.vectors.items.to_numpy(np.float64)
    total = (items[liked, :-1].sum(axis=0) + vector[0]) / (len(liked) + 1) ** 0.7
    scores = items[:, :-1] @ total + items[:, -1]
    memory = scores_of(model, liked) - model.vectors.items @ vector_of(model, liked)
    scores += memory * len(liked) ** 0.5 / (len(liked) + 1) ** 0.5
    check(found, pd.Series(scores), liked, 25)


def test_what_an_item_says_stays_when_its_vector_is_replaced(repo):
    model = remembering()
    publish(model, repo)
    online = OnlineRecommender(repo)
    items = model.vectors.items
    liked = liked_by(model, 4)
    online.add_items(
        [liked[0]], items.loc[[liked[0]], [0, 1, 2]], items.loc[liked[0], 3]
    )
    check_users(online, model)


# -- publications --------------------------------------------------------------------


def test_each_publication_has_its_own_lists(repo):
    first, second = remembering(), remembering("v2", k=9, seed=4)
    publish(first, repo)
    online = OnlineRecommender(repo)
    check_users(online, first)
    publish(second, repo)
    check_users(online, second)
    rollback(repo)
    check_users(online, first)
    assert verify(first, repo).ok


def test_lists_come_after_and_go_again(repo):
    """The views learn of a memory with the first model that has one, and keep it."""
    plain = history_model(version="plain")
    publish(plain, repo)
    old = OnlineRecommender(repo).recommend(range(8), k=6)
    model = remembering()
    publish(model, repo)
    online = OnlineRecommender(repo)
    check_users(online, model)
    publish(history_model(version="again"), repo)
    assert verify(history_model(version="again"), repo).ok
    assert verify(repo).ok
    columns = ["user_id", "item_id", "rank", "score"]
    found = online.recommend(range(8), k=6)[columns]
    pd.testing.assert_frame_equal(found, old[columns])
    rows = pq.read_table(repo / "data" / "item_embeddings.parquet").to_pandas()
    has = rows.groupby("item_model_version")["item_memory_items"].count()
    assert has.to_dict() == {"plain": 0, "v1": has["v1"], "again": 0}
    assert has["v1"] == (model.vectors.memory.neighbors[:, 0] >= 0).sum()
    rollback(repo)
    check_users(online, model)


def test_without_a_memory_nothing_is_written_of_one(repo):
    publish(history_model(), repo)
    store = open_store(repo)
    views = store.list_feature_views()
    names = {feature.name for view in views for feature in view.features}
    assert not [name for name in names if "memory" in name]
    assert backend_of(store).served().memory_exponent is None
    for name in ("user", "item"):
        schema = pq.read_schema(repo / "data" / f"{name}_embeddings.parquet")
        assert not [n for n in schema.names if "memory" in n]


def test_feast_reads_the_lists(repo):
    model = remembering()
    publish(model, repo)
    names = ["item_embeddings:item_memory_items", "item_embeddings:item_memory_weights"]
    rows = [{"item_id": n} for n in range(25)]
    found = open_store(repo).get_online_features(names, rows).to_dict()
    memory = model.vectors.memory
    for item in range(25):
        there = memory.neighbors[item] >= 0
        ids, weights = (found[name.split(":")[1]][item] or [] for name in names)
        assert ids == memory.neighbors[item][there].tolist()
        np.testing.assert_allclose(
            weights, memory.weights[item][there], rtol=CLOSE, atol=CLOSE
        )


def test_a_rollback_writes_the_lists_offline_again(repo):
    """They are of different lengths, and no vectors."""
    publish(remembering(), repo)
    publish(remembering("v2"), repo)
    rollback(repo)
    table = pq.read_table(repo / "data" / "item_embeddings.parquet")
    kept = pa.compute.equal(table["item_model_version"], "v1")
    rows = table.filter(kept).sort_by("event_timestamp").to_pylist()
    first, last = (
        {row["item_id"]: row for row in part} for part in (rows[:25], rows[25:])
    )
    assert len(first) == len(last) == 25
    for item, row in first.items():
        for name in ("item_memory_items", "item_memory_weights"):
            assert row[name] == last[item][name]


def test_definitions_have_the_lists_where_there_are_any():
    definitions = embedding_definitions(dim=3, item_id_type="string", memory=True)
    items = [str(f.dtype) for f in definitions.item_embeddings.features]
    assert items[-2:] == ["Array(String)", "Array(Float32)"]
    assert [f.name for f in definitions.user_embeddings.features][-1] == (
        "user_disliked_items"
    )


def test_a_deleted_item_is_in_no_list_any_more(repo):
    model = remembering()
    publish(model, repo)
    online = OnlineRecommender(repo)
    check_users(online, model)
    spoken_for = int(model.vectors.memory.neighbors[liked_by(model, 4)[0], 0])
    gone = [liked_by(model, 7)[0], spoken_for, 7]
    delete_ids(repo, items=gone)
    assert verify(repo).ok
    for user in range(8):
        liked = liked_by(model, user)
        found = online.recommend([user], k=6)
        left_out = [item for item in model.vectors.seen[user] if item not in gone]
        check(found, scores_of(model, liked, gone), left_out, 6)
    rows = pq.read_table(repo / "data" / "item_embeddings.parquet").to_pandas()
    listed = np.concatenate(rows["item_memory_items"].dropna().tolist())
    assert not set(gone) & set(listed.tolist())
    sizes = [
        rows[f"item_memory_{name}"].dropna().map(len) for name in ("items", "weights")
    ]
    assert sizes[0].tolist() == sizes[1].tolist()
    rows = pq.read_table(repo / "data" / "user_embeddings.parquet").to_pandas()
    assert not set(gone) & set(
        np.concatenate(rows["user_disliked_items"].dropna().tolist())
    )


# -- from tables ---------------------------------------------------------------------


def as_tables(model):
    """The same model as tables, for `StoredVectors`."""
    vectors, memory = model.vectors, model.vectors.memory
    there = [row >= 0 for row in memory.neighbors]
    items = pa.table(
        {
            "item_id": vectors.items.index.tolist(),
            "vector": pa.array(vectors.items.to_numpy().tolist()),
            "memory_items": [
                row[known].tolist()
                for row, known in zip(memory.neighbors, there, strict=True)
            ],
            "memory_weights": [
                row[known].tolist()
                for row, known in zip(memory.weights, there, strict=True)
            ],
        }
    )
    users = pa.table(
        {
            "user_id": vectors.users.index.tolist(),
            "vector": pa.array(vectors.users.to_numpy().tolist()),
            "seen": pa.array(vectors.seen.tolist(), pa.list_(pa.int64())),
            "disliked": [vectors.disliked.get(n, []) for n in vectors.users.index],
        }
    )
    return users, items


def test_tables_give_what_a_recommender_does(repo):
    model = remembering()
    users, items = as_tables(model)
    stored = StoredVectors(
        users, items, "v1", history_exponent=0.7, memory_exponent=0.5
    )
    publish(stored, repo)
    check_users(OnlineRecommender(repo), model)
    assert verify(model, repo).ok
    assert verify(stored, repo).ok
    publish(model, repo)
    assert verify(stored, repo).ok


def test_tables_without_a_memory_follow_those_with_one(repo):
    users, items = as_tables(remembering())
    stored = StoredVectors(users, items, "v1", memory_exponent=0.5)
    publish(stored, repo)
    plain = replace(stored, version="v2", memory_exponent=None)
    publish(plain, repo)
    assert verify(plain, repo).ok
    assert verify(repo).ok


def changed(table, name, row, value):
    values = table[name].to_pylist()
    values[row] = value
    column = table.column_names.index(name)
    return table.set_column(column, name, pa.array(values, table[name].type))


def test_what_is_wrong_in_tables_is_named(repo):
    model = remembering()
    users, items = as_tables(model)
    known = items["memory_items"].to_pylist()[4]
    assert known

    def refused(match, users=users, items=items, error=ValueError, **options):
        options = {"memory_exponent": 0.5} | options
        with pytest.raises(error, match=match):
            publish(StoredVectors(users, items, "v1", **options), repo)

    short = changed(items, "memory_weights", 4, [1.0] * (len(known) + 1))
    words = (
        f"memory_weights has {len(known) + 1} numbers in row 4 of .* has {len(known)}"
    )
    refused(words, items=short)
    odd = changed(items, "memory_weights", 4, [np.nan] * len(known))
    refused("memory_weights is not finite in row 4", items=odd)
    refused("memory_items", items=items.drop_columns("memory_items"))
    refused("memory_exponent must be a finite number, got nan", memory_exponent=np.nan)
    refused("user 4 has liked: .* 0 are said", users=with_sizes(users, model))
    ids = changed(items, "item_id", 4, np.iinfo(np.int64).min)
    refused("stands for deleted ones", items=ids)


def with_sizes(users, model):
    sizes = [len(liked_by(model, user)) for user in range(8)]
    sizes[2] = len(model.vectors.seen[2])
    return users.drop_columns("disliked").append_column("history_size", [sizes])


def test_what_is_wrong_in_a_memory_is_named(repo):
    model = remembering()
    vectors, memory = model.vectors, model.vectors.memory

    def refused(match, **options):
        model.vectors = replace(vectors, **options)
        with pytest.raises(ValueError, match=match):
            publish(model, repo)

    fewer = replace(memory, neighbors=memory.neighbors[1:])
    refused("a list for each of the 25 items", memory=fewer)
    other = memory.neighbors.copy()
    other[0, 0] = 25
    refused("speaks for item 25 of 25", memory=replace(memory, neighbors=other))
    weights = memory.weights.copy()
    weights[0, 0] = np.inf
    refused("not finite", memory=replace(memory, weights=weights))
    refused("memory.exponent must be", memory=replace(memory, exponent=np.inf))
    refused("memory.half_life is None, but", history_half_life=2.0)
    refused("user 2 has liked: 4 items were met, 2 are in the", disliked=None)


# -- reasons and the index -----------------------------------------------------------


@pytest.mark.parametrize("half_life", [None, 1.5])
def test_contributions_add_up_with_a_memory(repo, half_life):
    model = remembering(half_life=half_life)
    publish(model, repo)
    online = OnlineRecommender(repo)
    best = online.recommend([0, 2, 4], k=5)
    why = online.history_contributions(best["user_id"], best["item_id"])
    sums = why.groupby(["user_id", "item_id"])["contribution"].sum()
    scores = best.set_index(["user_id", "item_id"])["score"]
    np.testing.assert_allclose(sums[scores.index], scores, rtol=CLOSE, atol=CLOSE)
    liked = liked_by(model, 4)
    assert why[why["user_id"] == 4]["met"].tolist() == [*liked, None] * 5
    memory, speaker = model.vectors.memory, liked[0]
    other, weight = memory.neighbors[speaker, 0], memory.weights[speaker, 0]
    assert other >= 0
    part = online.history_contributions(4, int(other))["contribution"][0]
    items = model.vectors.items.to_numpy(np.float64)[:, :-1]
    counts = counts_of(model, liked)
    product = items[speaker] @ items[other] / counts.sum() ** 0.7
    wanted = counts[0] * (product + weight / counts.sum() ** 0.5)
    np.testing.assert_allclose(part, wanted, rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_an_index_finds_what_exact_search_finds(repo, exclude_seen):
    pytest.importorskip("faiss")
    publish(remembering(n_items=400, n_users=40), repo)
    exact = OnlineRecommender(repo, index=None)
    online = OnlineRecommender(repo, index=ApproximateIndex(n_probes=10**6))
    assert online.recall([1], k=5) == 1.0
    options = {"k": 7, "exclude_seen": exclude_seen}
    found, wanted = (o.recommend(range(40), **options) for o in (online, exact))
    assert found.attrs["search"] == "approximate"
    assert found["item_id"].tolist() == wanted["item_id"].tolist()
    np.testing.assert_allclose(found["score"], wanted["score"], rtol=CLOSE, atol=CLOSE)


# -- a fitted recommender ------------------------------------------------------------


@pytest.fixture
def fitted(ratings, items):
    """Fitted to likes and dislikes, with a memory that is given."""
    X, y = ratings[["user_id", "item_id"]], (ratings["rating"] > 2).astype(float)
    rec = MultimodalFusionRecommender(ItemCatalog(items), random_state=0).fit(X, y)
    memory = lists(len(rec.model_.data.items))
    rec.model_.memory = replace(memory, half_life=rec.half_life_)
    return rec


@pytest.mark.parametrize("how", ["serving_vectors", "stored_vectors"])
def test_a_fitted_recommender_is_served_with_its_memory(repo, fitted, how):
    rec = fitted
    disliked = rec.model_.data.disliked
    assert disliked.lengths.sum() > 0
    publish(rec if how == "serving_vectors" else rec.stored_vectors(), repo)
    for model in (rec, rec.stored_vectors()):
        assert verify(model, repo).ok
    same_lists(OnlineRecommender(repo).recommend(rec.user_index_, k=99), rec)


def same_lists(found, rec, users=None):
    own = rec.recommend(users, k=99)
    assert found["item_id"].tolist() == own["item_id"].tolist()
    np.testing.assert_allclose(found["score"], own["score"], rtol=1e-4, atol=1e-4)


def test_feedback_moves_the_store_as_it_does_the_recommender(repo, fitted):
    rec = fitted
    publish(rec, repo)
    online, user = OnlineRecommender(repo), rec.user_index_[3]
    new = rec.recommend([user], k=99)["item_id"].tolist()
    online.record(user, new[0])
    online.record(user, new[1], 0.0)
    events = online.feedback()
    rec.partial_fit(events.drop(columns=["y", "timestamp"]), events["y"])
    same_lists(online.recommend(user, k=99), rec, [user])
    publish(rec, repo, feedback=events)
    same_lists(online.recommend(user, k=99), rec, [user])


# -- other engines -------------------------------------------------------------------


@pytest.mark.services
def test_other_engines_serve_the_same_lists(remote):
    model = remembering()
    publish(history_model(version="plain"), remote)
    publish(model, remote)
    online = OnlineRecommender(remote)
    check_users(online, model)
    assert verify(model, remote).ok
    assert verify(remote).ok
    liked, met = liked_by(model, 4), model.vectors.seen[4]
    online.record(4, 11)
    online.record(4, 12, 0.0)
    left_out = [*met, 11, 12]
    check(online.recommend(4, k=6), scores_of(model, [*liked, 11]), left_out, 6)
    second = remembering("v2", k=9, seed=4)
    publish(second, remote)
    check_users(online, second)
    rollback(remote)
    check_users(online, model)
    gone = [liked[0], 7]
    delete_ids(remote, items=gone)
    assert verify(remote).ok
    for user in range(8):
        left_out = [item for item in model.vectors.seen[user] if item not in gone]
        scores = scores_of(model, liked_by(model, user), gone)
        check(online.recommend([user], k=6), scores, left_out, 6)
    stored = StoredVectors(*as_tables(model), "v3", memory_exponent=0.5)
    publish(stored, remote)
    assert verify(stored, remote).ok
