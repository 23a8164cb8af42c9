"""Bad input: an error that names the row or the argument."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array


def replaced(table, column, row, value):
    return table.astype({column: object}).assign(
        **{
            column: lambda t: [
                value if n == row else v for n, v in enumerate(t[column])
            ]
        }
    )


@pytest.mark.parametrize("method", ["fit", "predict", "transform"])
def test_an_item_that_the_catalogue_lacks(make, catalog, X, method):
    recommender = make(catalog).fit(X)
    with pytest.raises(ValueError, match=r"'zz' \(row 3\) is not in the catalogue"):
        getattr(recommender, method)(replaced(X, "item_id", 3, "zz"))


def test_first_mistakes_are_told_what_to_do(make, catalog, X, fitted):
    upper = X.assign(item_id=X["item_id"].str.upper())
    first = catalog.ids[0]
    mistakes = [
        (lambda: make(catalog).fit(upper), f"such as '{first}': put all items into it"),
        (
            lambda: make(catalog).fit(X[["item_id"]]),
            "a column of users and one of items",
        ),
        (lambda: make(catalog).fit(X, "rating"), r"such as X\['rating'\]"),
        (lambda: fitted.recommend(X), "shape .*: give one column"),
    ]
    for mistake, advice in mistakes:
        with pytest.raises(ValueError, match=advice):
            mistake()


def test_a_number_that_the_catalogue_lacks_is_plain(make, items, catalog, X):
    from skmmrec import ItemCatalog

    numbered = ItemCatalog(items.assign(item_id=range(len(items))))
    table = pd.DataFrame({"user_id": [1, 1], "item_id": [0, 99]})
    with pytest.raises(ValueError, match=r"item 99 \(row 1\)"):
        make(numbered).fit(table)


def test_ids_of_another_kind_are_refused(make, catalog, X, fitted):
    message = "item_id 0 is a number, but the known ids are strings, such as '.*dtype"
    with pytest.raises(ValueError, match=message):
        make(catalog).fit(X.assign(item_id=range(len(X))))
    with pytest.raises(ValueError, match=message):
        fitted.recommend([101], items=[0])
    message = "'101' is a string, but the known ids are numbers"
    with pytest.raises(ValueError, match=f"users {message}"):
        fitted.recommend(["101"])
    with pytest.raises(ValueError, match=f"user_id {message}"):
        fitted.predict(X.assign(user_id="101"))


@pytest.mark.parametrize("value", ["good", np.nan, np.inf])
def test_an_answer_that_is_no_number_names_its_row(make, catalog, X, value):
    y = [1.0] * 5 + [value] + [1.0] * (len(X) - 6)
    with pytest.raises(ValueError, match=r"\(y in row 5\)"):
        make(catalog).fit(X, y)
    with pytest.raises(ValueError, match=r"\(sample_weight in row 5\)"):
        make(catalog).fit(X, sample_weight=y)


@pytest.mark.parametrize("value", ["good", np.inf])
def test_an_odd_answer_of_several_tasks_names_its_row_and_column(
    make, catalog, X, value
):
    y = pd.DataFrame({"bought": 1.0, "stars": np.nan}, X.index).astype(object)
    y.iloc[5, 1] = value
    with pytest.raises(ValueError, match=r"\(y in row 5 of column 'stars'\)"):
        make(catalog).fit(X, y)


def test_a_table_of_users_is_refused(fitted, X):
    with pytest.raises(
        ValueError, match=r"users must be a list .* got shape \(\d+, 1\)"
    ):
        fitted.recommend(X[["user_id"]])


def test_times_in_text_are_read_as_times(make, catalog, X, y, fitted):
    """The tenth second comes after the ninth, and one zone before another."""
    seconds = pd.to_datetime(X.timestamp, unit="s", utc=True)
    zones = ["Europe/Berlin" if n % 2 else "America/New_York" for n in range(len(X))]
    texts = [
        time.tz_convert(zone).isoformat()
        for time, zone in zip(seconds, zones, strict=True)
    ]
    rec = make(catalog).fit(X.assign(timestamp=texts), y)
    np.testing.assert_array_equal(rec.history_.items, fitted.history_.items)


@pytest.mark.parametrize("text", ["31.12.2023", "02/01/2024", "yesterday", "9"])
def test_text_that_is_no_time_is_refused(make, catalog, X, text):
    times = ["2024-01-01"] * (len(X) - 1) + [text]
    with pytest.raises(ValueError, match=f"timestamp in row {len(X) - 1} is '{text}'"):
        make(catalog).fit(X.assign(timestamp=times))


def test_times_of_several_types_are_refused(make, catalog, X):
    times = [pd.Timestamp(2024, 1, 1), *["2024-01-02"] * (len(X) - 1)]
    with pytest.raises(ValueError, match=r"timestamp mixes types \(Timestamp, str\)"):
        make(catalog).fit(X.assign(timestamp=pd.Series(times, dtype=object).to_numpy()))


@pytest.mark.parametrize("column", ["user_id", "item_id"])
@pytest.mark.parametrize("value", [None, np.nan, pd.NA, pd.NaT])
def test_a_missing_id(make, catalog, X, flat, fitted, column, value):
    message = rf"{column} is missing \(NaN or None\) in row 4"
    with pytest.raises(ValueError, match=message):
        make(catalog).fit(replaced(X, column, 4, value))
    with pytest.raises(ValueError, match=message):
        make().fit(replaced(flat, column, 4, value))
    with pytest.raises(ValueError, match=message):
        fitted.predict(replaced(X, column, 4, value))


def test_a_missing_number_as_id(make, catalog, X):
    table = X.astype({"user_id": float})
    table.iloc[2, 0] = np.nan
    with pytest.raises(ValueError, match=r"user_id is missing .* in row 2"):
        make(catalog).fit(table)


def test_mixed_types_of_ids(make, catalog, X):
    with pytest.raises(ValueError, match=r"user_id mixes types .*str in row 5"):
        make(catalog).fit(replaced(X, "user_id", 5, "bob"))


def test_an_id_too_large(make, catalog, X):
    """No silent wrap-around to a negative id."""
    table = X.assign(user_id=X.user_id.astype(np.uint64) + np.uint64(2**63))
    with pytest.raises(ValueError, match="user_id"):
        make(catalog).fit(table)


def test_an_empty_table(make, catalog, X, flat):
    for recommender, table in ((make(catalog), X), (make(), flat)):
        with pytest.raises(ValueError, match="X is empty: 0 sample"):
            recommender.fit(table.iloc[:0])
    with pytest.raises(ValueError, match="0 sample"):
        make(catalog).fit(np.empty((0, 2)))


def test_one_column(make, catalog, X):
    for table in (X[["user_id"]], X[["user_id"]].to_numpy()):
        with pytest.raises(ValueError, match=r"1 feature\(s\).* minimum of 2"):
            make(catalog).fit(table)


def test_one_id_column_is_named(make, catalog, X):
    with pytest.raises(ValueError, match="'user_id' but lacks the other"):
        make(catalog).fit(X.rename(columns={"item_id": "what"}))


def test_an_unknown_column(make, catalog, X, fitted):
    extra = X.assign(price=1.0, text__0=2.0)
    for call in (make(catalog).fit, fitted.predict, fitted.score):
        with pytest.raises(ValueError, match=r"unknown columns \['price', 'text__0'\]"):
            call(extra)
    with pytest.raises(ValueError, match=r"unknown columns \[2\]"):
        make(catalog).fit(X.to_numpy())


def test_times_of_another_name(make, catalog, X):
    names = {"user_id": "reader", "item_id": "post", "timestamp": "when"}
    given = X[["user_id", "item_id"]].assign(timestamp=range(len(X)))
    told = (
        r"\['when'\].* holds 'reader', 'post' and at most the times, which are called"
    )
    with pytest.raises(ValueError, match=told):
        make(catalog).fit(given.rename(columns=names))


def test_raw_content_in_the_flat_form(make, flat):
    with pytest.raises(ValueError, match=r"'title'.* row 0: 'words'"):
        make().fit(flat.assign(title="words"))
    late = replaced(flat, "image__1", 7, "red")
    with pytest.raises(ValueError, match=r"'image__1'.* row 7: 'red'"):
        make().fit(late)
    with pytest.raises(ValueError, match=r"column 7 .* row 7: 'red'"):
        make().fit(late.to_numpy())


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_partly_bad_vectors(make, flat, fitted_flat, value, word):
    bad = flat.copy()
    bad.iloc[6, bad.columns.get_loc("image__1")] = value
    for call in (make().fit, fitted_flat.predict):
        with pytest.raises(ValueError, match=rf"{word}.*'image' of row 6"):
            call(bad)


def test_a_missing_timestamp(make, catalog, X):
    dates = pd.to_datetime(X.timestamp, unit="D")
    for times in (X.timestamp.astype(float), dates):
        times = times.copy()
        times.iloc[3] = None
        with pytest.raises(ValueError, match=r"timestamp is missing .*in row 3"):
            make(catalog).fit(X.assign(timestamp=times))


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        (np.ones(3), r"y has 3 rows and X has \d+: .*inconsistent numbers of samples"),
        (np.nan, "y contains NaN"),
        (np.inf, "y contains infinity"),
        ("good", "y|float"),
    ],
)
def test_bad_strengths(make, catalog, X, fitted, strengths, message):
    if not isinstance(strengths, np.ndarray):
        strengths = pd.Series([strengths] * len(X))
    for call in (make(catalog).fit, fitted.score):
        with pytest.raises(ValueError, match=message):
            call(X, strengths)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.int8])
def test_answers_may_be_tensors_of_any_type(make, catalog, X, kind):
    y = torch.arange(len(X)) % 3
    expected = make(catalog).fit(X, y.numpy()).recommend(k=3)
    found = make(catalog).fit(X, y.to(kind), y.to(kind) * 0 + 1).recommend(k=3)
    pd.testing.assert_frame_equal(found, expected)


def test_a_row_without_any_answer(make, catalog, X):
    y = np.ones((len(X), 2))
    y[3] = np.nan
    with pytest.raises(ValueError, match="NaN for every task in row 3"):
        make(catalog).fit(X, y)


def test_sparse_input(make):
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        make().fit(csr_array(np.ones((4, 3))))


@pytest.mark.parametrize(
    ("modalities", "message"),
    [({"m": ["nope"]}, "unknown column: 'nope'"), ({"m": [99]}, "column 99")],
)
def test_wrong_modalities(make, flat, modalities, message):
    with pytest.raises(ValueError, match=message):
        make(modalities=modalities).fit(flat)


def test_a_failed_fit_does_not_pass_for_one(make, catalog, X):
    recommender = make(catalog)
    with pytest.raises(ValueError, match="not in the catalogue"):
        recommender.fit(replaced(X, "item_id", 3, "zz"))
    assert not hasattr(recommender, "item_vectors_")


def test_an_encoding_step_that_drops_the_ids(make, flat):
    content = flat.filter(like="__")
    with pytest.raises(ValueError, match=r"X has no ids: .*Pass 'user_id'"):
        make().fit(content)


def test_a_table_in_the_place_of_the_catalogue(make, items, X):
    with pytest.raises(TypeError, match=r"an ItemCatalog or None, got DataFrame"):
        make(items).fit(X)


def test_ratings_go_into_y(make, catalog, ratings):
    with pytest.raises(ValueError, match="ratings are given as y"):
        make(catalog).fit(ratings)


def test_ids_of_another_kind_are_refused_later_too(make, catalog, items, X):
    recommender = make(catalog).fit(X[["user_id", "item_id"]])
    with pytest.raises(ValueError, match="user_id 'bob' is a string"):
        recommender.partial_fit(pd.DataFrame({"user_id": ["bob"], "item_id": ["i00"]}))
    with pytest.raises(ValueError, match="item_id 5 is a number"):
        recommender.add_items(items.head(1).assign(item_id=5))


def test_a_misspelt_column_of_new_content(make, catalog, items, X):
    recommender = make(catalog).fit(X)
    content = items.filter(like="text__").assign(imagee__0=1.0)
    with pytest.raises(ValueError, match="imagee__0"):
        recommender.similar_items(content)
