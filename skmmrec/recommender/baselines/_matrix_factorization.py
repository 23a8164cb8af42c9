"""Matrix factorisation of interactions by gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

from sklearn.utils._param_validation import Interval, StrOptions

from skmmrec._sklearn import fit_context
from skmmrec.interactions import ITEM, USER, Numbers, RandomState, Table
from skmmrec.recommender._fitting import feed, finish, learn
from skmmrec.recommender._idle_settings import refuse_changed, refuse_idle
from skmmrec.recommender._model import FittedModel
from skmmrec.recommender._preparation import prepare
from skmmrec.recommender._rows import Modalities, OtherColumnsAre, Rows
from skmmrec.recommender._settings import (
    EarlyStopping,
    Regularization,
    Training,
    checked,
)
from skmmrec.recommender._vector_recommender import VectorRecommender
from skmmrec.recommender.network import Objective, check_objective
from skmmrec.recommender.training import NetworkDesign, Plan

# What it has none of: content, and users that are made of histories.
_OF_CONTENT = frozenset(
    {"modality_dropout", "alignment", "modality_balance", "n_components", "mute_noise"}
)
_OF_HISTORIES = frozenset({"history_dropout"})


class MatrixFactorizationRecommender(VectorRecommender):
    """A vector for each user and for each item, and a bias for each item.

    It knows ids alone: content that `X` brings along is not looked at, and a user who
    was not there in `fit` gets the most popular items.

    Parameters
    ----------
    n_factors : int, default=64
        Width of the vectors.
    n_members : int, default=1
        Networks that are trained, and whose scores are averaged.
    objective : {"softmax", "bpr", "bce", "mse"} or list of these, default="softmax"
        What is learned: to rank each liked item above drawn ones ("softmax", "bpr");
        the probability of a like ("bce"); or the rating ("mse"). A list names one for
        each column of `y`.
    cold_popularity : float, default=0.5
        An item without interactions is ranked as if so many users had interacted with
        it.
    user_key, item_key : str, default="user_id" and "item_id"
        Columns of `X` with the ids.
    training, regularization, early_stopping
        As in `MultimodalFusionRecommender`.
    warm_start : bool, default=False
        Start `fit` from the last one.
    device : str, default="auto"
        Torch device of the training, and of comparing users and items.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights and of all sampling.
    verbose : bool or "auto", default="auto"
        Whether to show a progress bar; "auto": on a terminal only.

    Attributes
    ----------
    model_ : FittedModel
        Everything that was learned; what follows are views of it.
    item_vectors_, user_vectors_ : DataFrame of shape (n, n_members * n_factors)
        float32, indexed by id, read-only.
    item_biases_ : Series of length n_items
        float32, indexed by item id, read-only.
    loss_curve_, validation_curve_ : list of float
        Mean loss of each epoch and, with early stopping, its metric.
    n_iter_ : int
        Number of epochs run.
    id_l2_ : float
        The precision of ``id_l2`` of `Regularization`, or what it learned.

    References
    ----------
    Y. Koren, R. Bell and C. Volinsky, "Matrix factorization techniques for recommender
    systems", Computer 42(8), 2009.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.recommender import MatrixFactorizationRecommender
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("ababa")})
    >>> rec = MatrixFactorizationRecommender(8, random_state=0).fit(X)
    >>> rec.recommend([3], k=1)[["user_id", "item_id", "rank"]]
       user_id item_id  rank
    0        3       b     1
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "objective": "no_validation",
        "cold_popularity": [Interval(Real, 0, None, closed="neither")],
        "user_key": [str],
        "item_key": [str],
        "training": "no_validation",
        "regularization": "no_validation",
        "early_stopping": "no_validation",
        "warm_start": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["boolean", StrOptions({"auto"})],
    }

    def __init__(
        self,
        n_factors: int = 64,
        *,
        n_members: int = 1,
        objective: Objective | Sequence[Objective] = "softmax",
        cold_popularity: float = 0.5,
        user_key: str = USER,
        item_key: str = ITEM,
        training: Training | None = None,
        regularization: Regularization | None = None,
        early_stopping: EarlyStopping | None = None,
        warm_start: bool = False,
        device: str = "auto",
        random_state: RandomState = None,
        verbose: bool | Literal["auto"] = "auto",
    ) -> None:
        self.n_factors = n_factors
        self.n_members = n_members
        self.objective = objective
        self.cold_popularity = cold_popularity
        self.user_key = user_key
        self.item_key = item_key
        self.training = training
        self.regularization = regularization
        self.early_stopping = early_stopping
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Table, y: Numbers | None = None, sample_weight: Numbers | None = None
    ) -> Self:
        """Learn from interactions of users with items.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            The columns ``user_id`` and ``item_id``, or else the first two, are the ids;
            others are not looked at.
        y : array-like of shape (n,) or (n, n_tasks), or None, default=None
            Strength of each interaction, or answers to be predicted, as in
            `MultimodalFusionRecommender.fit`.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the rows in the loss.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For missing ids, an empty table, or a setting that could have no effect.
        """
        with self._all_or_nothing():
            check_objective(self.objective)
            plan = self._plan()
            source = self.model_ if self._goes_on else None
            self._check_columns(X, reset=True)
            rows = self._read_rows(X, y, sample_weight)
            model = prepare(rows, plan, None, self.objective, source=source)
            refuse_idle(plan, model)
            found = learn(model, rows, plan, source, self._goes_on)
            self._adopt(finish(model, rows, plan, found))
        return self

    @property
    def id_l2_(self) -> float:
        """Precision of the prior of the item embeddings."""
        return self.model_.id_l2

    @property
    def _goes_on(self) -> bool:
        return self.warm_start and hasattr(self, "model_")

    def _plan(self) -> Plan:
        """Check the settings, and put them together."""
        checked(self.training, "training", Training, self)
        checked(self.regularization, "regularization", Regularization, self)
        checked(self.early_stopping, "early_stopping", EarlyStopping, self)
        regularization = self.regularization or Regularization()
        refuse_changed(regularization, _OF_CONTENT, "it looks at no content")
        refuse_changed(regularization, _OF_HISTORIES, "users are no histories")
        return Plan(
            NetworkDesign("concat", None, self.n_factors, user_embedding=True),
            self.training or Training(),
            regularization,
            self.early_stopping,
            self.n_members,
            self.cold_popularity,
            self.device,
            self.random_state,
        )

    def _columns(self, is_flat: bool) -> tuple[OtherColumnsAre, Modalities]:
        return "ignored", None

    def _take_in(self, rows: Rows) -> FittedModel:
        return feed(self.model_, rows, self._plan())
