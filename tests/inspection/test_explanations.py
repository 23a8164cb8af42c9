"""Sentences name the modality and the item that they should."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.inspection import explain, modality_contributions, nearest_in_history
from skmmrec.inspection._explanations import _reason
from skmmrec.inspection._sentences import Reason, sentence
from skmmrec.recommender import MatrixFactorizationRecommender, Training


def test_nearest_items_match_a_plain_search(fitted):
    ranked = fitted.recommend(fitted.user_index_[:6], k=3)
    table = nearest_in_history(fitted, ranked.user_id, ranked.item_id)
    assert len(table) == len(ranked) * 3
    content, index = fitted.model_.content, fitted.item_index_
    for row in table.itertuples():
        if row.nearest is None:
            continue
        vectors = content.values[row.modality]
        met = fitted.history_.of(fitted.user_index_.get_loc(row.user_id))
        met = met[content.mask[met, content.modalities.index(row.modality)]]
        target = vectors[[index.get_loc(row.item_id)]]
        similarities = cosine_similarity(target, vectors[met])[0]
        assert row.similarity == pytest.approx(similarities.max(), abs=1e-5)
        chosen = np.flatnonzero(index[met] == row.nearest)[0]
        assert similarities[chosen] == pytest.approx(similarities.max(), abs=1e-5)


def test_an_item_is_not_its_own_nearest(fitted, truth):
    met = truth.interactions.head(50)
    table = nearest_in_history(fitted, met.user_id, met.item_id)
    assert (table.nearest != table.item_id).all()


def test_a_missing_modality_and_a_new_user_have_no_nearest(fitted, truth):
    silent = truth.item_table.item_id[0]
    table = nearest_in_history(fitted, ["user-0001", "stranger"], [silent, silent])
    assert table.nearest.isna().tolist() == [False, False, True, True, True, True]
    assert table.similarity.isna().tolist() == table.nearest.isna().tolist()


def test_without_content_the_sentence_says_who_chose_it(truth):
    X = truth.interactions[["user_id", "item_id"]]
    model = MatrixFactorizationRecommender(n_factors=4, random_state=0)
    model.set_params(training__max_epochs=1).fit(X)
    ranked = model.recommend(["user-0001", "stranger"], k=2)
    nearest = nearest_in_history(model, ranked.user_id, ranked.item_id)
    assert nearest.shape == (0, 5)
    said = explain(model, ranked)
    assert list(said) == [*ranked, "reason"]
    assert said.reason.tolist() == [
        *["People with likes like yours chose it."] * 2,
        *["Many others chose it."] * 2,
    ]


@pytest.mark.parametrize("objective", ["bce", "mse"])
def test_what_was_disliked_is_no_reason(objective, items, X, ratings):
    model = MultimodalFusionRecommender(
        ItemCatalog(items),
        objective=objective,
        n_factors=6,
        random_state=0,
        training=Training(max_epochs=2),
    ).fit(X, ratings.rating - 3.0)
    users = np.repeat(X.user_id.unique(), len(items))
    table = nearest_in_history(
        model, users, np.tile(items.item_id, X.user_id.nunique())
    )
    near = table.dropna(subset=["nearest"])
    rated = X.assign(rating=ratings.rating).set_index(["user_id", "item_id"]).rating
    found = rated.loc[list(zip(near.user_id, near.nearest, strict=True))]
    threshold = 3.0 if objective == "bce" else ratings.rating.mean()
    assert (found > threshold).all()
    assert (rated < threshold).any()
    assert len(near)


def test_reasons_name_the_strongest_modality(fitted, truth):
    ranked = fitted.recommend(fitted.user_index_[:20], k=5)
    titles = truth.item_table.set_index("item_id").title
    table = explain(fitted, ranked.set_index(ranked.index + 7), titles)
    assert table[["user_id", "item_id"]].to_numpy().tolist() == (
        ranked[["user_id", "item_id"]].to_numpy().tolist()
    )
    added = modality_contributions(fitted, ranked.user_id, ranked.item_id)
    best = added[["text", "image", "audio"]].idxmax(axis=1)
    nouns = {
        "text": "Its words are",
        "image": "Its picture is",
        "audio": "Its sound is",
    }
    silent = truth.item_table.item_id[0]
    for reason, modality, item in zip(table.reason, best, ranked.item_id, strict=True):
        assert reason.startswith(nouns[modality]) or item == silent
    assert table.reason.str.contains("“").all()


def test_strangers_are_told_about_others(fitted):
    table = explain(fitted, fitted.recommend(["stranger"], k=2))
    assert table.reason.tolist() == ["Many others chose it."] * 2


def test_bad_pairs_are_named(fitted):
    with pytest.raises(ValueError, match="item-9999"):
        nearest_in_history(fitted, ["user-0001"], ["item-9999"])
    with pytest.raises(ValueError, match="users has 2 entries, items 1"):
        nearest_in_history(fitted, ["a", "b"], ["item-0001"])
    unknown = pd.DataFrame({"user_id": ["user-0001"], "item_id": ["item-9999"]})
    with pytest.raises(ValueError, match="'item-9999'"):
        explain(fitted, unknown)


@pytest.fixture
def first_reason(fitted):
    """A recommendation with its strongest modality and the item that it names."""
    ranked = fitted.recommend(fitted.user_index_[:1], k=1)
    added = modality_contributions(fitted, ranked.user_id, ranked.item_id)
    modality = added[["text", "image", "audio"]].iloc[0].idxmax()
    near = nearest_in_history(fitted, ranked.user_id, ranked.item_id)
    return ranked, modality, near.set_index("modality").nearest[modality]


def test_shared_tags_are_named(fitted, first_reason):
    ranked, modality, other = first_reason
    item = ranked.item_id[0]
    scores = pd.DataFrame(
        [[0.9, 0.3, 0.5, 0.8, 0.05], [0.2, 0.4, 0.6, 0.0, 0.9]],
        index=[item, other],
        columns=["sea", "storm", "boat", "night", "rain"],
    )
    said = explain(fitted, ranked, tags={modality: scores}).reason[0]
    assert said.endswith("% of what speaks for it): boat, storm.")
    words = {modality: {item: ["calm", "sea", "sea"], other: ("sea", "loud")}}
    assert explain(fitted, ranked, tags=words).reason[0].endswith("for it): sea.")


def test_without_shared_tags_nothing_is_added(fitted, first_reason):
    ranked, modality, other = first_reason
    plain = explain(fitted, ranked).reason[0]
    item = ranked.item_id[0]
    missing = pd.DataFrame({"sea": [1.0, np.nan]}, index=[item, other])
    others = {"text", "image", "audio"} - {modality}
    for tags in (
        {},
        {modality: {}},
        {modality: {item: ["sea"]}},
        {modality: {item: ["sea"], other: ["land"]}},
        {modality: missing},
        {modality: missing.head(1)},
        {name: {item: ["sea"], other: ["sea"]} for name in others},
    ):
        assert explain(fitted, ranked, tags=tags).reason[0] == plain


def test_bad_tags_are_named(fitted, first_reason):
    ranked, _, _ = first_reason
    with pytest.raises(ValueError, match="tags of 'smell', but the modalities are"):
        explain(fitted, ranked, tags={"smell": {}})
    twice = pd.DataFrame({"sea": 1.0}, index=["item-0001", "item-0001"])
    with pytest.raises(ValueError, match=r"tags\['text'\] has item 'item-0001' more"):
        explain(fitted, ranked, tags={"text": twice})


def test_what_is_told_of_no_item_or_of_one_twice_is_named(fitted, first_reason):
    """Ids of another type are found nowhere, and titles that come twice are two."""
    ranked, _, _ = first_reason
    by_row = pd.Series(["a", "b"])
    for titles in (by_row.to_dict(), pd.Series("a", ["item-0001"] * 2), by_row):
        with pytest.raises(
            ValueError, match=r"titles has (no item id|no ids in|item 'item-0001')"
        ):
            explain(fitted, ranked, titles)
    for tags in (by_row.to_frame(), {0: ["sea"]}):
        with pytest.raises(ValueError, match=r"tags\['text'\] has no (item id|ids)"):
            explain(fitted, ranked, tags={"text": tags})


def test_every_reason_is_a_plain_text(fitted):
    ranked = fitted.recommend(["stranger", fitted.user_index_[0]], k=1)
    assert {type(reason) for reason in explain(fitted, ranked).reason} == {str}


@pytest.mark.parametrize(
    ("modality", "said"),
    [
        ("text", "Its words are like those of"),
        ("Text", "Its words are like those of"),
        ("words", "Its words are like those of"),
        ("picture", "Its picture is like that of"),
        ("sound", "Its sound is like that of"),
        ("video", "Its video is like that of"),
        ("video_image", "Its pictures are like those of"),
        ("video_sound", "Its sound is like that of"),
        ("poster_vec", "In “poster vec” it is like"),
        ("text__title", "In “text title” it is like"),
        ("tags", "In “tags” it is like"),
        ("cover art", "In “cover art” it is like"),
        ("Ton", "In “Ton” it is like"),
        ("海報", "In “海報” it is like"),
        ("x", "In “x” it is like"),
        ("_", "In “_” it is like"),
    ],
)
def test_a_sentence_reads_well_for_any_name(modality, said):
    reason = Reason(1, modality, 0.6, 2, [])
    assert sentence(reason, pd.Series({2: "Up"})) == (
        f"{said} “Up”, which you liked (60% of what speaks for it)."
    )


def test_a_share_is_never_rounded_to_all_or_nothing():
    assert "(over 99% of" in sentence(Reason(1, "text", 0.999, 2, []), None)
    assert "(under 1% of" in sentence(Reason(1, "text", 0.001, 2, []), None)


def test_of_equal_modalities_the_first_is_named():
    added = np.array([0.2, 0.5, 0.5, -1.0])
    names = ["a", "b", "c", "d"]
    shares = pd.Series([0.2, 0.4, 0.4, 0.0], names)
    nearest = np.array([1, None, 2, 3], dtype=object)
    assert _reason(added, names, shares, 9, nearest, {}).modality == "c"
    nearest[1] = 4
    assert _reason(added, names, shares, 9, nearest, {}).modality == "b"
    assert _reason(-abs(added), names, shares, 9, nearest, {}) is None


def test_what_nobody_chose_is_called_new(fitted, truth):
    model = deepcopy(fitted)
    vectors = model.catalog.items.drop(columns="item_id").iloc[[3]]
    model.add_items(vectors.assign(item_id="item-new"))
    pairs = pd.DataFrame({"user_id": ["stranger"], "item_id": ["item-new"]})
    assert explain(model, pairs).reason[0] == "It is new: nobody has chosen it yet."


@pytest.mark.parametrize("n_modalities", [1, 2, 6])
def test_any_number_of_modalities_is_explained(n_modalities, items, X):
    vectors = items.filter(like="__0").iloc[:, :1].to_numpy()
    columns = {
        f"m{n}__{part}": vectors[:, 0] * (n + 1) + part + n % 2 * np.arange(len(items))
        for n in range(n_modalities)
        for part in (0, 1)
    }
    table = items[["item_id"]].assign(**columns)
    catalog = ItemCatalog(table, on_empty="ignore")
    rec = MultimodalFusionRecommender(catalog, n_factors=4, random_state=0)
    rec.set_params(training__max_epochs=1).fit(X)
    table = explain(rec, rec.recommend(k=2))
    shares = table[[f"m{n}" for n in range(n_modalities)]].to_numpy()
    assert ((shares >= 0) & (shares <= 1)).all()
    assert table.reason.str.endswith(".").all()
