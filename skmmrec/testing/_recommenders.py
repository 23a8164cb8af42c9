"""What every recommender must keep."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any, ClassVar

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from skmmrec._sklearn import clone
from skmmrec.metrics import evaluate_ranking
from skmmrec.testing._data import make_interactions

COLUMNS = ["user_id", "item_id", "rank", "score"]
EVERYTHING = {"k": 99, "exclude_seen": False}
PAIR = ["user_id", "item_id"]
# Skips itself unless SCIPY_ARRAY_API=1 was set before scipy was imported.
MAY_SKIP = {"check_array_api_input"}
# What the checks do on purpose: they fit y of a regression, of one class and without a
# like, and score the rows of `fit`.
ODD_ON_PURPOSE = ("no interaction has y above 0", "y is from", ".* were seen in fit")
# What the tests of a class have fitted, by what they fitted it from.
FITS = pytest.StashKey[dict[bytes, Any]]()


class RecommenderTests:
    """Tests of a recommender: ``fit(X, y)``, ``recommend(users, k)``, ``score(X, y)``.

    - It passes scikit-learn's `check_estimator`, with at least 40 checks; `X` may be a
      DataFrame with ``user_id`` and ``item_id`` or an array whose first two columns are
      these, and `y` may be None unless its tags say otherwise.
    - ``recommend(users=None, k=10, *, items=None, exclude_seen=True)`` gives a table
      of ``user_id``, ``item_id``, ``rank`` from 1 and ``score`` in float32, the best
      first, users in the order given. A user whom it never met is served.
    - ``score(X, y)`` is the NDCG@10 of what it recommends.
    - A missing id is a ValueError that names the column and the row, an unknown
      candidate one that names it, and so is a `k` below 1 or not whole.

    `HistoryRecommender` keeps all this for those who learn from interactions alone.

    Override the fixture `recommender`, and `expected_failed_checks` if a check asks for
    what a recommender does not do on purpose.

    Attributes
    ----------
    expected_failed_checks : dict of str to str
        Why it fails a check, by the check's name. No other may fail.

    Examples
    --------
    >>> import pytest
    >>> from skmmrec.recommender import ItemKNNRecommender
    >>> from skmmrec.testing import RecommenderTests
    >>> class TestItemKNN(RecommenderTests):
    ...     @pytest.fixture
    ...     def recommender(self):
    ...         return ItemKNNRecommender(n_neighbors=3)
    """

    expected_failed_checks: ClassVar[dict[str, str]] = {}

    @pytest.fixture
    def recommender(self) -> Any:
        """Return an unfitted recommender, quick to fit, with a seed if it has any."""
        raise NotImplementedError("override the fixture recommender")

    @pytest.fixture
    def X(self) -> pd.DataFrame:
        """Return interactions, with content of the items."""
        return make_interactions()[0]

    @pytest.fixture
    def y(self) -> pd.Series:
        """Return ratings; above 0 is a like."""
        return make_interactions()[1]

    @pytest.fixture
    def fitted(
        self,
        request: pytest.FixtureRequest,
        recommender: Any,
        X: pd.DataFrame,
        y: pd.Series,
    ) -> Any:
        """Return the recommender, fitted; tests share it, and leave it as it is."""
        fits = request.node.getparent(pytest.Class).stash.setdefault(FITS, {})
        key = pickle.dumps((recommender, X, y))
        if key not in fits:
            fits[key] = recommender.fit(X, y)
        return fits[key]

    def test_it_passes_the_checks_of_scikit_learn(self, recommender: Any) -> None:
        with warnings.catch_warnings():
            for odd in ODD_ON_PURPOSE:
                warnings.filterwarnings("ignore", odd, UserWarning)
            results = check_estimator(recommender, on_fail=None, on_skip=None)
        failed = {
            result["check_name"]: result["exception"]
            for result in results
            if result["status"] != "passed" and result["check_name"] not in MAY_SKIP
        }
        assert failed.keys() <= self.expected_failed_checks.keys(), failed
        assert sum(result["status"] == "passed" for result in results) >= 40

    def test_fit_changes_neither_its_input_nor_the_parameters(
        self, recommender: Any, X: pd.DataFrame, y: pd.Series
    ) -> None:
        X_before, y_before = X.copy(deep=True), y.copy(deep=True)
        parameters = recommender.get_params()
        assert recommender.fit(X, y) is recommender
        pd.testing.assert_frame_equal(X, X_before)
        pd.testing.assert_series_equal(y, y_before)
        assert recommender.get_params() == parameters

    def test_the_same_fit_gives_the_same_model(
        self, fitted: Any, X: pd.DataFrame, y: pd.Series
    ) -> None:
        again = clone(fitted).fit(X, y)
        tables = [model.recommend(**EVERYTHING) for model in (fitted, again)]
        pd.testing.assert_frame_equal(*tables)

    def test_a_pickle_recommends_the_same(self, fitted: Any) -> None:
        copy = pickle.loads(pickle.dumps(fitted))
        tables = [model.recommend(**EVERYTHING) for model in (fitted, copy)]
        pd.testing.assert_frame_equal(*tables)

    def test_it_works_from_a_file_that_is_only_read(
        self, fitted: Any, X: pd.DataFrame, y: pd.Series, tmp_path: Path
    ) -> None:
        joblib.dump(fitted, tmp_path / "fitted")
        mapped = joblib.load(tmp_path / "fitted", mmap_mode="r")
        tables = [model.recommend(**EVERYTHING) for model in (fitted, mapped)]
        pd.testing.assert_frame_equal(*tables)
        if hasattr(mapped, "partial_fit"):
            new = X.head(3).assign(user_id="nobody")
            copy = pickle.loads(pickle.dumps(fitted))
            tables = [
                model.partial_fit(new, y.head(3)).recommend(**EVERYTHING)
                for model in (copy, mapped)
            ]
            pd.testing.assert_frame_equal(*tables)
        mapped.fit(X, y)

    def test_y_may_be_left_out_or_is_asked_for(
        self, recommender: Any, X: pd.DataFrame
    ) -> None:
        if get_tags(recommender).target_tags.required:
            with pytest.raises(ValueError, match="requires y"):
                recommender.fit(X)
        else:
            table = recommender.fit(X).recommend(k=2)
            assert len(table) == 2 * X["user_id"].nunique()

    def test_all_pairs_can_be_ranked(self, fitted: Any, X: pd.DataFrame) -> None:
        table = fitted.recommend(**EVERYTHING)
        assert list(table) == COLUMNS
        assert not table.duplicated(PAIR).any()
        assert len(table) == X["user_id"].nunique() * X["item_id"].nunique()
        assert table["score"].dtype == np.float32
        assert np.isfinite(table["score"]).all()

    def test_the_best_come_first(self, fitted: Any) -> None:
        for _, own in fitted.recommend(**EVERYTHING).groupby("user_id"):
            assert own["rank"].tolist() == list(range(1, len(own) + 1))
            assert own["score"].is_monotonic_decreasing

    def test_the_best_k_are_the_first_of_all(self, fitted: Any) -> None:
        table = fitted.recommend(k=99)
        best = table[table["rank"] <= 3].reset_index(drop=True)
        pd.testing.assert_frame_equal(fitted.recommend(k=3), best, rtol=1e-6, atol=1e-6)

    def test_what_a_user_met_is_left_out(self, fitted: Any, X: pd.DataFrame) -> None:
        table = fitted.recommend(k=99)
        met = set(X[PAIR].itertuples(index=False, name=None))
        assert not met & set(table[PAIR].itertuples(index=False, name=None))
        assert len(met) + len(table) == X["user_id"].nunique() * X["item_id"].nunique()

    def test_users_come_in_the_order_asked_for(self, fitted: Any) -> None:
        users = ["u3", "u11", "u0"]
        table = fitted.recommend(users, k=2)
        assert table["user_id"].tolist() == np.repeat(users, 2).tolist()

    def test_a_user_is_served_alone_as_among_others(self, fitted: Any) -> None:
        table = fitted.recommend(["u1", "u2", "u9"], **EVERYTHING)
        alone = [fitted.recommend([user], **EVERYTHING) for user in ("u1", "u2", "u9")]
        alone = pd.concat(alone, ignore_index=True)
        pd.testing.assert_frame_equal(table, alone, rtol=1e-5, atol=1e-5)

    def test_a_user_who_was_never_met_is_served(
        self, fitted: Any, X: pd.DataFrame
    ) -> None:
        table = fitted.recommend(["nobody"], k=99)
        assert set(table["item_id"]) == set(X["item_id"])
        assert np.isfinite(table["score"]).all()

    def test_only_candidates_are_recommended(self, fitted: Any) -> None:
        table = fitted.recommend(["u1"], items=["i03", "i05", "i07"], **EVERYTHING)
        assert set(table["item_id"]) == {"i03", "i05", "i07"}

    def test_an_unknown_candidate_is_named(self, fitted: Any) -> None:
        with pytest.raises(ValueError, match="nothing like it"):
            fitted.recommend(["u1"], items=["i03", "nothing like it"])

    @pytest.mark.parametrize("k", [0, -1, 1.5])
    def test_a_wrong_k_is_refused(self, fitted: Any, k: Any) -> None:
        error = TypeError if isinstance(k, float) else ValueError
        with pytest.raises(error, match="k must be"):
            fitted.recommend(["u1"], k=k)

    def test_missing_ids_are_refused(
        self, recommender: Any, X: pd.DataFrame, y: pd.Series
    ) -> None:
        items = X["item_id"].where(X.index != 1, None)
        with pytest.raises(ValueError, match=r"item_id.*row 1"):
            recommender.fit(X.assign(item_id=items), y)
        with pytest.raises(ValueError, match="user"):
            recommender.fit(X, y).recommend(["u1", None])

    def test_no_rows_are_refused(self, recommender: Any, X: pd.DataFrame) -> None:
        with pytest.raises(ValueError, match=r"0 sample|empty|0 rows"):
            recommender.fit(X.iloc[:0])

    def test_one_user_and_one_item(self, recommender: Any) -> None:
        X = pd.DataFrame({"user_id": [1], "item_id": ["a"], "image__0": [1.0]})
        table = recommender.fit(X, [1.0]).recommend(**EVERYTHING)
        assert table["item_id"].tolist() == ["a"]
        assert np.isfinite(table["score"]).all()

    def test_score_is_the_ndcg_of_what_is_recommended(
        self, recommender: Any, X: pd.DataFrame, y: pd.Series
    ) -> None:
        held_out = X.duplicated("item_id") & (X.groupby("user_id").cumcount() < 4)
        recommender.fit(X[~held_out], y[~held_out])
        judged = evaluate_ranking(
            recommender.recommend(k=10), X[held_out], metrics=["ndcg@10"]
        )
        expected = judged.mean()["ndcg@10"]
        assert recommender.score(X[held_out]) == pytest.approx(expected, abs=1e-9)
