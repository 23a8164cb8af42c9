"""The summary of a recommender in a notebook."""

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from skmmrec import MultimodalFusionRecommender
from skmmrec.inspection import describe_html
from skmmrec.metrics import evaluate_ranking
from skmmrec.recommender import (
    ContentRecommender,
    EarlyStopping,
    MatrixFactorizationRecommender,
    PopularityRecommender,
    Training,
)


class Cells(HTMLParser):
    """Collects the text of the cells, and checks that tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.cells = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag in ("th", "td"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.cells[-1] += data


def read(text):
    parser = Cells()
    parser.feed(text)
    assert parser.open == []
    return dict(zip(parser.cells[::2], parser.cells[1::2], strict=True))


def test_likes_are_counted_once_where_there_are_answers():
    X = pd.DataFrame({"user_id": [1, 1, 2, 2], "item_id": list("abab")})
    rec = PopularityRecommender().fit(X, [1.0, 5.0, 0.0, 3.0])
    assert read(describe_html(rec))["Catalogue"] == "2 items, 2 users, 3 likes"


def test_says_what_was_fitted(fitted, truth):
    rows = read(describe_html(fitted))
    n_likes = len(truth.interactions.drop_duplicates(["user_id", "item_id"]))
    assert rows["Catalogue"] == f"150 items, 200 users, {n_likes:,} likes"
    widths = fitted.model_.content.widths
    assert rows["Modalities"] == (
        f"text ({widths['text']} wide, 0% missing); "
        f"image ({widths['image']} wide, 0% missing); "
        f"audio ({widths['audio']} wide, 1% missing)"
    )
    assert rows["Fusion"] == "gated, vectors of 64"
    first, last = fitted.loss_curve_[0], fitted.loss_curve_[-1]
    assert rows["Training"] == f"10 epochs, loss {first:.4g} to {last:.4g}"


def test_says_nothing_before_fit():
    assert describe_html(MultimodalFusionRecommender()) == ""


def test_rankers_without_content_have_a_table_too(truth):
    X = truth.interactions[["user_id", "item_id"]]
    rec = PopularityRecommender().fit(X)
    scores = evaluate_ranking(
        rec.recommend(k=3, exclude_seen=False), X, ["recall@3"]
    ).mean()
    rows = read(describe_html(rec, scores))
    assert list(rows) == ["Catalogue", "recall@3"]
    assert rows["recall@3"] == f"{scores.iloc[0]:.4g}"


def test_what_is_no_fusion_says_what_it_is(fitted, truth):
    X = truth.interactions[["user_id", "item_id"]]
    rec = ContentRecommender(fitted.catalog).fit(X)
    rows = list(read(describe_html(rec)))
    assert rows == ["Catalogue", "Modalities", "Chosen: half_life"]
    rec = MatrixFactorizationRecommender(
        8,
        training=Training(max_epochs=2),
        early_stopping=EarlyStopping(),
        random_state=0,
    ).fit(X)
    rows = read(describe_html(rec))
    chosen = [f"Chosen: {name}" for name in rec.choices_]
    known = ["Catalogue", "Objective", "Training", "Validation"]
    assert list(rows) == [*known, *chosen]
    assert rows["Training"].startswith("2 epochs, loss ")
    assert rows["Validation"].startswith("ndcg@10 ")


class Fake:
    """As much of a recommender as the table reads."""

    item_index_ = user_index_ = pd.Index(["a"])
    history_ = type("History", (), {"liked": np.array([True])})
    fusion = "<script>alert('&')</script>"
    item_vectors_ = pd.DataFrame([[1.0]])


@pytest.mark.parametrize(
    ("metric", "curve", "text"),
    [
        ("recall@5", [0.1, 0.3, 0.2], "recall@5 0.3 after epoch 2"),
        ("auto", [0.1, 0.3, 0.4], "ndcg@10 0.4 after epoch 3"),
        ("auto", [-0.7, -0.5, -0.6], "loss 0.5 after epoch 2"),
    ],
)
def test_the_best_epoch_is_named(metric, curve, text):
    rec = Fake()
    rec.early_stopping, rec.validation_curve_ = EarlyStopping(metric=metric), curve
    assert read(describe_html(rec))["Validation"] == text


def test_text_is_escaped():
    text = describe_html(Fake(), {"<b>": 1.0})
    assert "<script>" not in text
    assert "<b>" not in text
    assert read(text)["Fusion"] == "<script>alert('&')</script>, vectors of 1"


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0%"), (0.001, "under 1%"), (0.25, "25%"), (0.999, "over 99%"), (1, "100%")],
)
def test_few_are_not_none(share, text):
    from skmmrec.recommender._html import format_share

    assert format_share(share) == text


def test_a_notebook_shows_the_diagram_and_the_table(fitted):
    """In both ways that notebooks ask; an estimator that is not fitted has no table."""
    from sklearn.base import clone

    table = describe_html(fitted)
    assert fitted._repr_html_().endswith(table)
    assert fitted._repr_mimebundle_()["text/html"].endswith(table)
    assert "sk-estimator" in fitted._repr_html_()
    assert "Modalities" not in clone(fitted)._repr_html_()
