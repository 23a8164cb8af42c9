"""Tables and columns of pandas, polars and Arrow mean the same in every room."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from skmmrec import ItemCatalog
from skmmrec.experiments import (
    assign_arm,
    compare_interleaved,
    off_policy_value,
    recommendation_policy,
    team_draft,
)
from skmmrec.inspection import (
    RankingCurveDisplay,
    explain,
    modality_contributions,
    nearest_in_history,
)
from skmmrec.metrics import (
    catalog_coverage,
    evaluate_ranking,
    gini_exposure,
    intra_list_diversity,
    make_ranking_scorer,
    novelty,
    popularity_bias,
)
from skmmrec.model_selection import LeaveLastOut, TimeSplit
from skmmrec.recommender import ContentRecommender, ItemKNNRecommender
from skmmrec.retrieval import cap_exposure, cap_groups, rerank_mmr
from tests.strings import OF_PANDAS_3

mpl.use("Agg")


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def ids_in(table):
    return [name for name in ("user_id", "item_id") if name in table]


def with_types(table, types):
    return table.astype(dict.fromkeys(ids_in(table), types))


def with_dictionaries(table):
    """Ids as Arrow dictionaries, in chunks that differ."""
    return table.assign(
        **{
            name: pd.Series(
                pd.arrays.ArrowExtensionArray(
                    pa.chunked_array(
                        [
                            pa.array(part.tolist()).dictionary_encode()
                            for part in (table[name][:2], table[name][2:])
                        ]
                    )
                ),
                index=table.index,
            )
            for name in ids_in(table)
        }
    )


def with_runs(table):
    """Ids as Arrow writes columns of many equal values."""
    runs = {
        name: pc.run_end_encode(pa.array(table[name].tolist()))
        for name in ids_in(table)
    }
    others = pa.Table.from_pandas(table, preserve_index=False)
    for name, column in runs.items():
        others = others.set_column(others.schema.get_field_index(name), name, column)
    return others


def as_polars_categories(table):
    return pl.from_pandas(table).with_columns(
        pl.col(ids_in(table)).cast(pl.Categorical)
    )


LARGE = pd.ArrowDtype(pa.large_string())
TEXTS = {
    "object": lambda table: with_types(table, object),
    "category": lambda table: with_types(table, "category"),
    "string": lambda table: with_types(table, "string"),
    "string of pyarrow": lambda table: with_types(table, "string[pyarrow]"),
    "large string": lambda table: with_types(table, pd.ArrowDtype(pa.large_string())),
    "string of pandas 3": lambda table: with_types(table, OF_PANDAS_3),
    "dictionary": with_dictionaries,
    "runs": with_runs,
    "polars": pl.from_pandas,
    "polars categories": as_polars_categories,
    "Arrow": lambda table: pa.Table.from_pandas(table, preserve_index=False),
    "Arrow, one batch": lambda table: pa.RecordBatch.from_pandas(table),
}
NUMBERS = {
    "int64": lambda table: table,
    "uint8": lambda table: with_types(table, np.uint8),
    "Int64": lambda table: with_types(table, "Int64"),
    "int64 of Arrow": lambda table: with_types(table, "int64[pyarrow]"),
    "whole floats": lambda table: with_types(table, float),
    "whole singles": lambda table: with_types(table, np.float32),
    "Float64": lambda table: with_types(table, "Float64"),
    "category": lambda table: with_types(table, "category"),
    "dictionary": with_dictionaries,
    "runs": with_runs,
    "polars": pl.from_pandas,
    "Arrow": lambda table: pa.Table.from_pandas(table, preserve_index=False),
}
KINDS = [("text", kind) for kind in TEXTS] + [("number", kind) for kind in NUMBERS]


@pytest.fixture(scope="module")
def plain_tables(items, ratings):
    """Items, and rows of users and items, with ids as texts and as numbers."""
    items = items.assign(title="")
    numbers = {
        "items": items.assign(item_id=range(len(items))),
        "X": ratings.assign(item_id=ratings.item_id.str[1:].astype(int)),
    }
    texts = {
        "items": items,
        "X": ratings.assign(user_id=[f"{user}shop" for user in ratings.user_id]),
    }
    return {"text": texts, "number": numbers}


@pytest.fixture(params=KINDS, ids=lambda kind: "-".join(kind))
def tables(request, plain_tables):
    """The plain tables, and a function that makes them of another type."""
    what, kind = request.param
    return plain_tables[what], (TEXTS if what == "text" else NUMBERS)[kind]


def column(table, name):
    return table[name]


def test_recommenders(tables):
    plain, convert = tables
    items = plain["items"].drop(columns="title")
    X = plain["X"][["user_id", "item_id", "timestamp"]]
    expected = ContentRecommender(ItemCatalog(items)).fit(X)
    rec = ContentRecommender(ItemCatalog(convert(items))).fit(convert(X))
    assert rec.item_index_.tolist() == expected.item_index_.tolist()
    some = convert(X.head(4))
    lists = expected.recommend(X.user_id.head(4), k=3, items=X.item_id.head(4))
    users, chosen = column(some, "user_id"), column(some, "item_id")
    pd.testing.assert_frame_equal(rec.recommend(users, k=3, items=chosen), lists)
    pd.testing.assert_frame_equal(
        rec.similar_items(chosen, k=3), expected.similar_items(X.item_id.head(4), k=3)
    )
    np.testing.assert_array_equal(rec.predict(some), expected.predict(X.head(4)))
    others = X.head(12).assign(user_id=X.user_id.to_numpy()[11::-1])
    assert rec.score(convert(others)) == expected.score(others)
    pd.testing.assert_frame_equal(
        modality_contributions(rec, users, chosen),
        modality_contributions(expected, X.user_id.head(4), X.item_id.head(4)),
    )
    pd.testing.assert_frame_equal(
        nearest_in_history(rec, users, chosen),
        nearest_in_history(expected, X.user_id.head(4), X.item_id.head(4)),
    )
    pd.testing.assert_frame_equal(
        explain(rec, convert(lists)), explain(expected, lists)
    )
    baseline = ItemKNNRecommender().fit(convert(X))
    pd.testing.assert_frame_equal(
        baseline.recommend(users, k=3),
        ItemKNNRecommender().fit(X).recommend(X.user_id.head(4), k=3),
    )


def test_splitters_and_scorers(tables):
    plain, convert = tables
    X = plain["X"][["user_id", "item_id", "timestamp"]]
    for splitter in (
        LeaveLastOut(drop_cold_items=True),
        TimeSplit(drop_cold_users=True),
    ):
        for mine, theirs in zip(
            splitter.split(convert(X)), splitter.split(X), strict=True
        ):
            np.testing.assert_array_equal(mine[1], theirs[1])
    rec = ItemKNNRecommender().fit(X[10:])
    scorer = make_ranking_scorer("ndcg@5")
    assert scorer(rec, convert(X[:10])) == scorer(rec, X[:10])
    curves = [
        RankingCurveDisplay.from_estimator(rec, rows, ks=[3], random_state=0)
        for rows in (convert(X[:10]), X[:10])
    ]
    np.testing.assert_array_equal(curves[0].values, curves[1].values)


def test_metrics_and_lists(tables):
    plain, convert = tables
    X = plain["X"][["user_id", "item_id"]]
    lists = ItemKNNRecommender().fit(X).recommend(k=4)
    mine, met = convert(lists), convert(X)
    vectors = plain["items"].set_index("item_id").filter(like="image__")
    for metric, other, theirs in (
        (novelty, met, X),
        (popularity_bias, met, X),
        (catalog_coverage, column(convert(plain["items"]), "item_id"), vectors.index),
        (gini_exposure, column(convert(plain["items"]), "item_id"), vectors.index),
        (intra_list_diversity, vectors, vectors),
    ):
        same = np.asarray(metric(mine, other)), np.asarray(metric(lists, theirs))
        np.testing.assert_array_equal(*same)
    evaluation = evaluate_ranking(mine, met, ["ndcg@4"])
    expected = evaluate_ranking(lists, X, ["ndcg@4"])
    pd.testing.assert_frame_equal(evaluation.per_user, expected.per_user)
    groups = pd.Series("all", pd.Index(lists.user_id.unique(), name="user_id"))
    pd.testing.assert_frame_equal(
        evaluation.by(groups).scores, expected.by(groups).scores
    )
    pd.testing.assert_frame_equal(
        novelty(mine, met, by=groups).scores, novelty(lists, X, by=groups).scores
    )
    kinds = pd.Series(np.arange(len(vectors)) % 2, vectors.index)
    for rerank in (
        lambda table: rerank_mmr(table, vectors, k=2),
        lambda table: cap_exposure(table, k=2, max_share=0.5),
        lambda table: cap_groups(table, kinds, k=2, max_per_list=1),
    ):
        pd.testing.assert_frame_equal(rerank(mine), rerank(lists))


def test_experiments(tables):
    plain, convert = tables
    X = plain["X"][["user_id", "item_id"]]
    lists = ItemKNNRecommender().fit(X).recommend(k=4)
    mine = convert(lists)
    shown = team_draft(mine, mine, k=3, random_state=0)
    expected = team_draft(lists, lists, k=3, random_state=0)
    pd.testing.assert_frame_equal(shown, expected)
    clicks = lists[::3]
    compared = compare_interleaved(convert(shown), convert(clicks))
    assert compared == compare_interleaved(shown, clicks)
    policy = recommendation_policy(mine, temperature=1.0)
    pd.testing.assert_frame_equal(policy, recommendation_policy(lists, temperature=1.0))
    log = lists.assign(propensity=0.5, reward=1.0)
    assert off_policy_value(convert(log), convert(policy), method="ips") == (
        off_policy_value(log, policy, method="ips")
    )
    arms = assign_arm(column(mine, "user_id"), "test")
    np.testing.assert_array_equal(arms, assign_arm(lists.user_id, "test"))
