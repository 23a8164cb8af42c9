"""What a model card tells, and that it tells it safely."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from skmmrec import AudioEncoder, ItemCatalog, MultimodalFusionRecommender
from skmmrec.encoders import BaseEncoder, origins_of
from skmmrec.metrics import evaluate_ranking
from skmmrec.recommender import (
    CardSection,
    ModelCard,
    PopularityRecommender,
)
from skmmrec.recommender._facts import Facts, period_of
from tests.recommender.saved import editing


class Counter:
    """Counts letters, as a model that is read from a folder."""

    dim, identity = 2, b"letters"

    def prepare(self, text):
        return [text.count("a") + 1, text.count("b")]

    def encode(self, contents):
        return np.array(contents, np.float32)


class LetterEncoder(BaseEncoder):
    model: str = "letters"
    _items_are_paths = False

    def _load_model(self, device):
        return Counter()

    def _model_key(self):
        return self.model

    def _content_key(self, item):
        return item


@pytest.fixture
def lettered(tmp_path, X):
    """A recommender whose text model states things in its folder."""
    (tmp_path / "letters").mkdir()
    card = "---\nlicense: apache-2.0\nlanguage:\n- en\n- no\n---\n# Letters\n"
    (tmp_path / "letters" / "README.md").write_text(card)
    ids = sorted(X.item_id.unique())
    words = ["ab" * n for n in range(1, len(ids))]
    items = pd.DataFrame({"item_id": ids, "words": [None, *words]})
    encoder = LetterEncoder(str(tmp_path / "letters"))
    catalog = ItemCatalog(
        items, make_column_transformer((encoder, "words")), on_empty="ignore"
    )
    rec = MultimodalFusionRecommender(catalog, n_factors=4, random_state=3)
    return rec.set_params(training__max_epochs=1).fit(X)


def rows_of(card, heading):
    found = {section.heading: section for section in card.sections}[heading]
    return dict(found.rows)


def notes_of(card, heading):
    found = {section.heading: section for section in card.sections}[heading]
    return " ".join(found.notes)


def test_it_tells_data_choices_and_versions(fitted, X):
    card = fitted.card()
    data = rows_of(card, "Data")
    assert data["Rows of interactions"] == f"{len(X):,}"
    assert data["Users"] == "9"
    assert re.fullmatch(r"\d+, \d+\.\d\d% of all", data["Pairs met"])
    choices = rows_of(card, "Choices")
    assert choices["Fusion"] == "gated"
    assert choices["Epochs"] == "3"
    assert choices["Seed"] == "0"
    assert {"skmmrec", "torch", "numpy"} <= {*rows_of(card, "Versions")}
    assert "few" in notes_of(card, "Limits")


def test_it_tells_what_the_folder_of_a_model_states(lettered, tmp_path):
    card = lettered.card()
    (told,) = rows_of(card, "Modalities").values()
    for words in (
        "2 numbers",
        "LetterEncoder of words",
        "model letters",
        "licence apache-2.0",
        "languages en, no",
    ):
        assert words in told
    assert str(tmp_path) not in str(card)
    assert "of the items have no content at all" in notes_of(card, "Limits")


@pytest.mark.parametrize(
    "text", ["", "# no metadata", "---\n: : [\n---\n", "---\n- a\n---"]
)
def test_what_is_not_stated_is_not_guessed(tmp_path, text):
    (tmp_path / "README.md").write_text(text)
    (origin,) = origins_of(LetterEncoder(str(tmp_path)))
    assert origin["licence"] is None
    assert origin["languages"] is None
    (gone,) = origins_of(LetterEncoder(str(tmp_path / "gone")))
    assert gone["licence"] is None
    assert gone["model"] == "gone"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/srv/jane/letters", "letters"),
        (Path("jane/letters"), "letters"),
        ("../jane/letters", "letters"),
        ("~/jane/letters.pt", "letters.pt"),
        ("jane/letters", "jane/letters"),
        ("package:letters", "package:letters"),
    ],
)
def test_of_a_path_that_is_gone_the_last_part_is_told(name, told):
    """A name of the hub stays whole: it tells whose model it is."""
    (origin,) = origins_of(LetterEncoder(name))
    assert origin["model"] == told


def test_only_selected_modalities_are_told(lettered, X):
    words = lettered.catalog
    items = words.items.assign(size=1.0)
    encode = make_column_transformer(
        (words.encoder.transformers[0][1], "words"), (StandardScaler(), ["size"])
    )
    catalog = ItemCatalog(items, encode, on_empty="ignore").select(["size"])
    rec = MultimodalFusionRecommender(catalog, n_factors=4)
    card = rec.set_params(training__max_epochs=1).fit(X).card()
    assert list(rows_of(card, "Modalities")) == ["size"]


def test_an_untrained_network_is_told():
    (origin,) = origins_of(AudioEncoder(pretrained=False))
    assert (origin["model"], origin["is_trained"]) == ("Cnn14", False)


def test_measured_figures_are_told(fitted, X):
    assert "None were measured" in notes_of(fitted.card(), "Figures")
    figures = rows_of(fitted.card({"ndcg@10": 0.25, "users": 7}), "Figures")
    assert figures == {"ndcg@10": "0.25", "users": "7"}
    lists, relevant = fitted.recommend(k=3, exclude_seen=False), X
    evaluation = evaluate_ranking(lists, relevant, ["recall@3"])
    figures = rows_of(fitted.card(evaluation), "Figures")
    assert figures["Users judged"] == str(evaluation.n_users)
    assert re.fullmatch(r"[\d.]+ \([\d.]+ to [\d.]+\)", figures["recall@3"])
    means = evaluation.mean()
    assert rows_of(fitted.card(means), "Figures")["recall@3"] == f"{means.iloc[0]:.4g}"
    alone = evaluate_ranking(lists, relevant.head(1), ["recall@3"])
    figures = rows_of(fitted.card(alone), "Figures")
    assert figures["recall@3"] == f"{alone.mean().iloc[0]:.4g}"


@pytest.mark.parametrize(
    ("metrics", "error", "told"),
    [
        ([0.5], TypeError, "metrics must be a mapping"),
        ({"ndcg@10": "good"}, TypeError, r"metrics\['ndcg@10'\] must be a number"),
        ({"ok": True}, TypeError, r"metrics\['ok'\] must be a number"),
        (pd.DataFrame({"mean": [1.0]}), ValueError, "metrics has no column 'low'"),
    ],
)
def test_other_figures_are_refused(fitted, metrics, error, told, tmp_path):
    with pytest.raises(error, match=told):
        fitted.card(metrics)
    with pytest.raises(error, match=told):
        fitted.save(tmp_path / "model", metrics=metrics)
    assert not [*tmp_path.iterdir()]


def test_it_is_saved_and_the_same_after_loading(lettered, tmp_path):
    lettered.save(tmp_path / "model", metrics={"ndcg@10": 0.5})
    written = (tmp_path / "model" / "card.md").read_text()
    assert written == str(lettered.card({"ndcg@10": 0.5}))
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    assert loaded.card({"ndcg@10": 0.5}) == lettered.card({"ndcg@10": 0.5})
    loaded.save(tmp_path / "again", metrics={"ndcg@10": 0.5})
    assert (tmp_path / "again" / "card.md").read_text() == written


def test_people_may_complete_it_by_hand(fitted, tmp_path):
    tmp_path /= "model"
    fitted.save(tmp_path)
    (tmp_path / "card.md").write_text("Ask Ann before you use it.")
    MultimodalFusionRecommender.load(tmp_path)
    (tmp_path / "card.md").unlink()
    MultimodalFusionRecommender.load(tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        {"n_rows": -1},
        {"period": ["a"]},
        {"period": [1.0, "b"]},
        {"seed": 1.5},
        {"versions": {"torch": 2}},
        {"origins": {"text": {}}},
        {"more": 1},
    ],
    ids=str,
)
def test_facts_that_cannot_be_are_refused(fitted, tmp_path, edit):
    tmp_path /= "model"
    fitted.save(tmp_path)
    with editing(tmp_path) as (record, _):
        record["facts"] |= edit
    with pytest.raises(ValueError, match=r"damaged: (facts|the record).*"):
        MultimodalFusionRecommender.load(tmp_path)


def test_rows_that_are_taken_in_count(make, catalog, X):
    rec = make(catalog).fit(X.iloc[:-5])
    rec.partial_fit(X.iloc[-5:])
    assert rows_of(rec.card(), "Data")["Rows of interactions"] == f"{len(X):,}"


@pytest.mark.parametrize(
    ("times", "period"),
    [
        (None, None),
        (np.array([], float), None),
        (np.array([1_600_000_000, 1_700_000_000]), ["2020-09-13", "2023-11-14"]),
        (np.array([1.6e12, 1.7e12]), ["2020-09-13", "2023-11-14"]),
        (np.array([3, 1]), [1.0, 3.0]),
        (np.array(["2024-05-01", "2024-04-01"], "M8[s]"), ["2024-04-01", "2024-05-01"]),
        (np.array([36, 12], "m8[h]"), [0.5, 1.5]),
    ],
    ids=str,
)
def test_the_period_is_in_dates_where_times_are(times, period):
    assert period_of(times) == period


def test_periods_of_several_kinds_are_not_joined():
    facts = Facts.of_fit(2, np.array([1, 2]), 0)
    dates = np.array(["2024-05-01"], "M8[D]")
    assert facts.with_rows(1, dates).period is None
    assert facts.with_rows(1, np.array([5])).period == [1.0, 5.0]
    assert facts.with_rows(1, None).period == [1.0, 2.0]


def test_periods_are_joined_after_loading():
    days = np.array([1, 2], "m8[D]")
    written = json.loads(json.dumps(asdict(Facts.of_fit(2, days, 0))))
    facts = Facts(**written).with_rows(1, np.array([5], "m8[D]"))
    assert facts.period == [1.0, 5.0]


@pytest.mark.parametrize("answers", [[1.0, -1.0], [1.0, 0.0]])
def test_likes_are_counted_where_there_are_answers(X, answers):
    y = np.resize(answers, len(X))
    ranker = PopularityRecommender().fit(X, y)
    [text] = re.findall(r"Likes of a user \| (.*?) \|", str(ranker.card()))
    assert text.endswith(f"most {ranker.history_.lengths.max()}")


def test_baselines_have_one(X):
    card = PopularityRecommender().fit(X).card()
    assert rows_of(card, "Data")["Users"] == "9"
    assert "cannot rank one without interactions" in notes_of(card, "Intended use")
    with pytest.raises(NotFittedError):
        PopularityRecommender().card()


NAMES = ["Ton", "海報", "a|b", "<b>x</b>", "`code`", "two\nlines", "\u202eevil", "$x$"]


def test_names_in_any_script_are_escaped(X, items):
    ids = items[["item_id"]]
    columns = {
        f"{name}__{i}": np.arange(len(ids)) % 3 + i for name in NAMES for i in (0, 1)
    }
    catalog = ItemCatalog(ids.assign(**columns))
    rec = MultimodalFusionRecommender(catalog, n_factors=4, random_state=0)
    card = rec.set_params(training__max_epochs=1).fit(X).card()
    text = str(card)
    assert "Ton" in text
    assert "海報" in text
    assert "<b>" not in text.replace("\\<b", "")
    assert "\u202e" not in text
    assert "<b>" not in card._repr_html_()


@settings(max_examples=50)
@given(st.text(), st.text())
def test_any_text_stays_in_its_cell(name, value):
    card = ModelCard("T", [CardSection("H", [(name, value)], [value])])
    text = str(card)
    text.encode("utf-8")
    lines = text.split("\n")
    assert len(lines) == 10
    # Two cells: three bars that are not escaped.
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", lines[-2])) == 3
    page = ElementTree.fromstring(f"<div>{card._repr_html_()}</div>")
    assert [cell.tag for cell in next(page.iter("tr"))] == ["th", "td"]


def test_a_scaler_is_told_by_its_name(X, items):
    ids = items[["item_id"]]
    table = ids.assign(price=np.arange(len(ids)) * 1.5)
    encoder = make_column_transformer((StandardScaler(), ["price"]))
    rec = MultimodalFusionRecommender(ItemCatalog(table, encoder), random_state=0)
    card = rec.set_params(training__max_epochs=1).fit(X).card()
    assert rows_of(card, "Modalities")["price"].endswith("by StandardScaler of price")
