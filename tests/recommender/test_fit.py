"""What the fit depends on, and what it must not depend on."""

import sys
from contextlib import nullcontext

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from skmmrec import ItemCatalog
from skmmrec.fusion import ConcatFusion
from skmmrec.runtime import _progress


def assert_same_model(one, other):
    """Bit for bit."""
    pd.testing.assert_frame_equal(
        one.item_vectors_, other.item_vectors_, check_exact=True
    )
    pd.testing.assert_frame_equal(
        one.user_vectors_, other.user_vectors_, check_exact=True
    )
    pd.testing.assert_series_equal(
        one.item_biases_, other.item_biases_, check_exact=True
    )
    assert one.loss_curve_ == other.loss_curve_


def differ(one, other):
    return not np.allclose(one.item_vectors_, other.item_vectors_, atol=1e-5)


def test_flat_form_is_the_catalogue_form(fitted, fitted_flat, X, flat):
    assert fitted_flat.model_.is_flat
    assert_same_model(fitted, fitted_flat)
    np.testing.assert_array_equal(fitted.predict(X), fitted_flat.predict(flat))
    np.testing.assert_array_equal(fitted.transform(X), fitted_flat.transform(flat))
    pd.testing.assert_frame_equal(fitted.recommend(), fitted_flat.recommend())
    content = flat.drop(columns="user_id").drop_duplicates("item_id")
    held_out = fitted.recommend(k=2).iloc[1::2][["user_id", "item_id"]]
    described = held_out.merge(content, on="item_id", how="left")[list(flat)]
    assert fitted.score(held_out) == fitted_flat.score(described) > 0.5


def test_reduced_content_is_the_same_in_both_forms(make, catalog, X, flat):
    assert_same_model(
        make(catalog, regularization__n_components=2).fit(X),
        make(regularization__n_components=2).fit(flat),
    )


def test_flat_form_by_positions_and_numbers(make, X, flat):
    """A matrix without names is served by `modalities`."""
    table = flat.drop(columns="timestamp").assign(
        item_id=flat.item_id.str[1:].astype(float)
    )
    modalities = {"text": slice(2, 5), "image": slice(5, 8), "audio": [8, 9, 10]}
    by_name = make().fit(table)
    by_position = make(modalities=modalities).fit(table.to_numpy(float))
    np.testing.assert_array_equal(by_name.item_vectors_, by_position.item_vectors_)
    assert by_position.model_.content.modalities == ["text", "image", "audio"]


def test_modalities_of_the_flat_form_by_name(make, flat):
    recommender = make(modalities={"look": ["image__0", "audio__2"]}).fit(flat)
    assert recommender.model_.content.widths == {"look": 2}


def test_the_first_content_of_an_item_counts(make, flat):
    doubled = pd.concat([flat, flat.assign(image__0=99.0)], ignore_index=True)
    assert_same_model(make().fit(doubled), make().fit(flat))


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_decides_the_model(make, catalog, X, seed):
    torch.manual_seed(1)
    one = make(catalog, random_state=seed).fit(X)
    torch.manual_seed(2)
    assert_same_model(one, make(catalog, random_state=seed).fit(X))
    assert differ(one, make(catalog, random_state=seed + 1).fit(X))


def test_random_state_instance(make, catalog, X):
    one, other = (
        make(catalog, random_state=np.random.RandomState(5)).fit(X) for _ in range(2)
    )
    assert_same_model(one, other)


def test_the_global_generators_are_left_alone(make, catalog, X):
    """The next draw is what it would have been without the fit."""
    torch.manual_seed(4)
    np.random.seed(4)  # noqa: NPY002
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(4)
    np.random.seed(4)  # noqa: NPY002
    make(catalog).fit(X).predict(X)
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])  # noqa: NPY002


def test_with_timestamps_the_order_of_rows_does_not_matter(make, catalog, X, y, fitted):
    order = np.random.default_rng(0).permutation(len(X))
    assert_same_model(fitted, make(catalog).fit(X.iloc[order], y.iloc[order]))


def test_without_timestamps_rows_are_in_order_of_time(make, catalog, X, y, fitted):
    order = np.argsort(X.timestamp)
    rows = X.iloc[order].drop(columns="timestamp")
    assert_same_model(fitted, make(catalog).fit(rows, y.iloc[order]))


def test_dates_order_as_numbers_do(make, catalog, X, y, fitted):
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(X.timestamp, unit="D")
    assert_same_model(fitted, make(catalog).fit(X.assign(timestamp=dates), y))


def test_the_order_of_the_catalogue_does_not_matter(make, items, X, y, fitted):
    turned = ItemCatalog(items.iloc[::-1])
    assert_same_model(fitted, make(turned).fit(X, y))


def test_polars_is_pandas(make, catalog, X, y, fitted, flat, fitted_flat):
    theirs = make(catalog).fit(pl.from_pandas(X), y.to_numpy())
    assert_same_model(fitted, theirs)
    np.testing.assert_array_equal(theirs.predict(pl.from_pandas(X)), fitted.predict(X))
    assert_same_model(fitted_flat, make().fit(pl.from_pandas(flat), y.to_numpy()))


@pytest.mark.parametrize(
    "convert",
    [
        lambda ids: ids.to_numpy(),
        lambda ids: ids.astype("category"),
        lambda ids: ids.astype("string"),
        lambda ids: ids.astype(object),
    ],
    ids=["numpy", "category", "string", "object"],
)
def test_types_of_string_ids(make, catalog, X, y, fitted, convert):
    table = X.assign(item_id=convert(X.item_id))
    recommender = make(catalog).fit(table, y)
    np.testing.assert_array_equal(recommender.item_vectors_, fitted.item_vectors_)
    np.testing.assert_array_equal(recommender.predict(table), fitted.predict(X))


def test_text_ids_of_a_pandas_that_infers_strings(make, catalog, X, y, fitted):
    """As pandas 3 does: the ids of the model have the dtype ``str``."""
    is_new = int(pd.__version__.partition(".")[0]) >= 3
    infers = nullcontext() if is_new else pd.option_context("future.infer_string", True)
    with infers:
        recommender = make(catalog).fit(X, y)
        assert recommender.item_index_.dtype != object
        np.testing.assert_array_equal(recommender.predict(X), fitted.predict(X))
        table = recommender.recommend([101], k=3, items=["i03", "i05"])
        assert set(table.item_id) <= {"i03", "i05"}
        with pytest.raises(ValueError, match="0 is a number, but the known ids are st"):
            recommender.recommend([101], items=[0])


@pytest.mark.parametrize("dtype", ["int32", "Int64", "uint8", "float64", object])
def test_types_of_number_ids(make, catalog, X, y, fitted, dtype):
    table = X.assign(user_id=X.user_id.astype(dtype))
    recommender = make(catalog).fit(table, y)
    np.testing.assert_array_equal(recommender.user_vectors_, fitted.user_vectors_)
    ours, theirs = fitted.recommend([100], k=3), recommender.recommend([100], k=3)
    pd.testing.assert_frame_equal(theirs, ours)


def test_ids_are_found_by_name_wherever_they_stand(make, catalog, X, y, fitted):
    assert_same_model(fitted, make(catalog).fit(X[X.columns[::-1]], y))


def test_ids_without_names_are_the_first_two_columns(make, catalog, X):
    pairs = X[["user_id", "item_id"]]
    renamed = pairs.set_axis(["who", "what"], axis=1)
    one = make(catalog).fit(pairs)
    assert_same_model(one, make(catalog).fit(renamed))
    assert_same_model(one, make(catalog).fit(pairs.to_numpy(object)))
    np.testing.assert_array_equal(one.transform(pairs), one.transform(pairs.to_numpy()))


def test_seen_is_not_liked(make, catalog, X, y, fitted):
    """Rows at or below 0 are met, not liked: they teach nothing, yet stay hidden."""
    liked = (y > 0).to_numpy()
    only_liked = make(catalog).fit(X[liked])
    np.testing.assert_array_equal(only_liked.item_vectors_, fitted.item_vectors_)
    np.testing.assert_array_equal(only_liked.user_vectors_, fitted.user_vectors_)
    disliked = set(zip(X.user_id[~liked], X.item_id[~liked], strict=True))
    table = fitted.recommend(k=99)
    assert not disliked & set(zip(table.user_id, table.item_id, strict=True))
    table = only_liked.recommend(k=99)
    assert disliked <= set(zip(table.user_id, table.item_id, strict=True))


def test_strengths_count_only_by_their_sign(make, catalog, X, y, fitted):
    assert_same_model(fitted, make(catalog).fit(X, np.sign(y)))
    assert_same_model(fitted, make(catalog).fit(X, y.to_numpy()[:, None]))
    assert_same_model(make(catalog).fit(X), make(catalog).fit(X, np.ones(len(X))))


def test_the_last_word_on_a_pair_counts(make, catalog):
    rows = [(1, "i00"), (1, "i02"), (2, "i00"), (2, "i03"), (1, "i02")]
    table = pd.DataFrame(rows, columns=["user_id", "item_id"])
    twice = make(catalog).fit(table, [1, 1, 1, 1, -1])
    assert twice.item_index_[twice.history_.of(0)].tolist() == ["i00"]
    assert twice.item_index_[twice.seen_.of(0)].tolist() == ["i00", "i02"]
    timed = make(catalog).fit(table.assign(timestamp=[5, 4, 3, 2, 1]), [1, 1, 1, 1, -1])
    assert sorted(timed.item_index_[timed.history_.of(0)]) == ["i00", "i02"]


def test_repeated_rows_change_nothing(make, catalog, X, y, fitted):
    twice = pd.concat([X, X])
    assert_same_model(fitted, make(catalog).fit(twice, pd.concat([y, y])))


def test_nothing_liked_warns_and_still_serves(make, catalog, X):
    with pytest.warns(UserWarning, match="nothing to learn"):
        recommender = make(catalog).fit(X, np.zeros(len(X)))
    assert recommender.loss_curve_ == []
    assert np.isfinite(recommender.predict(X)).all()


@pytest.mark.parametrize("objective", ["softmax", "bpr"])
@pytest.mark.parametrize("other", ["softmax", "bce", "mse"])
@pytest.mark.parametrize("balance", [0.0, 0.3])
def test_nothing_liked_leaves_other_answers_to_learn(
    make, catalog, X, y, objective, other, balance
):
    recommender = make(
        catalog,
        objective=[objective, other],
        regularization__modality_balance=balance,
        training__partial_fit_epochs=1,
    )
    answers = np.column_stack([np.zeros(len(X)), y > 0])
    with pytest.warns(UserWarning, match="nothing to learn"):
        recommender.fit(X, answers)
    recommender.partial_fit(X.head(9), answers[:9])
    assert np.isfinite(recommender.loss_curve_).all()
    assert len(recommender.loss_curve_) == 4
    assert np.isfinite(recommender.predict(X)).all()
    assert recommender.history_.lengths.sum() == 0


def test_no_content_at_all(make, X):
    """The flat form with ids alone is collaborative filtering."""
    recommender = make().fit(X)
    assert recommender.model_.content.modalities == []
    assert np.isfinite(recommender.predict(X)).all()


def test_items_that_the_catalogue_has_and_nobody_met(make, catalog, X):
    warm = X[X.item_id != "i05"]
    recommender = make(catalog).fit(warm)
    assert "i05" in recommender.item_index_
    table = recommender.recommend(k=99)
    assert (table.item_id == "i05").sum() == warm.user_id.nunique()
    # Its vector is its content's: no embedding that training never touched.
    content = catalog.items[catalog.items.item_id == "i05"].drop(columns="item_id")
    np.testing.assert_array_equal(
        recommender.transform(content)[0], recommender.item_vectors_.loc["i05"]
    )


class NaNFusion(ConcatFusion):
    def weigh(self, tokens, mask):
        return super().weigh(tokens, mask) * float("nan")


def test_a_loss_that_is_not_finite_is_an_error(make, catalog, X):
    with pytest.raises(ValueError, match=r"loss of epoch 1 is nan: learning_rate may"):
        make(catalog, fusion=NaNFusion).fit(X)


def test_the_loss_falls(make, catalog, X):
    curve = make(catalog, training__max_epochs=20).fit(X).loss_curve_
    assert np.mean(curve[-3:]) < np.mean(curve[:3])


@pytest.mark.parametrize("verbose", [True, False, "auto"])
def test_each_epoch_is_logged(make, catalog, X, caplog, capsys, verbose):
    """And shown as a bar on standard error; None: where that is a terminal."""
    caplog.set_level("INFO", logger="skmmrec.recommender")
    recommender = make(catalog, verbose=verbose).fit(X)
    lines = [record.getMessage() for record in caplog.records]
    lines = [line for line in lines if line.startswith("epoch ")]
    assert lines[-1] == f"epoch 3/3: loss {recommender.loss_curve_[-1]:.4f}"
    assert len(lines) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("3/3" in shown.err) == (verbose is True)
    assert (shown.err == "") == (verbose is not True)


@pytest.mark.parametrize("batch_size", [1, 7, 10_000])
def test_any_batch_size(make, catalog, X, batch_size):
    recommender = make(
        catalog, training__batch_size=batch_size, training__max_epochs=1
    ).fit(X)
    assert np.isfinite(recommender.item_vectors_).all(axis=None)


def test_wide_content_is_reduced(make, X, items):
    wide = items[["item_id"]].join(
        pd.DataFrame(np.random.default_rng(0).normal(size=(len(items), 40))).add_prefix(
            "text__"
        )
    )
    recommender = make(ItemCatalog(wide), regularization__n_components=5).fit(X)
    assert recommender.model_.content.widths == {"text": 5}
    assert make(ItemCatalog(wide), regularization__n_components=None).fit(
        X
    ).model_.content.widths == {"text": 40}


def test_the_steps_of_a_fit_are_shown_where_somebody_waits(
    make, catalog, X, capsys, monkeypatch
):
    """Those that take long with many items; here each is drawn at once."""
    monkeypatch.setattr(_progress, "_DELAY", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    make(catalog).fit(X)
    shown = capsys.readouterr().err
    for name in ("bring text into space", "fit", "learn what content tells of items"):
        assert f"{name}:" in shown
    make(catalog, verbose=False).fit(X)
    assert capsys.readouterr().err == ""


def test_choices_and_sizes_are_logged(make, catalog, X, caplog):
    caplog.set_level("DEBUG", logger="skmmrec")
    make(catalog).fit(X)
    for words in (
        "id_l2 is ",
        "half_life is ",
        "9 users and 14 items",
        "widths, reduced",
    ):
        assert words in caplog.text
    debug = [r.getMessage() for r in caplog.records if r.levelname == "DEBUG"]
    assert any("modalities counted" in line for line in debug)
