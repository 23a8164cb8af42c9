"""Content alone, without training."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar, Literal, Self

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skmmrec._sklearn import fit_context
from skmmrec.catalog import ItemCatalog
from skmmrec.interactions import USER, Numbers, Table
from skmmrec.recommender._fitting import finish, learn
from skmmrec.recommender._preparation import check_catalogs, prepare
from skmmrec.recommender._settings import Regularization, Training
from skmmrec.recommender._user_towers import MeanTower
from skmmrec.recommender._vector_recommender import VectorRecommender
from skmmrec.recommender.training import NetworkDesign, Plan


class ContentRecommender(VectorRecommender):
    """Score items by the mean cosine between their content and that of a user's items.

    Nothing is trained. The vectors of each modality are centred and scaled to length 1;
    items that lack a modality are compared by the others. Cosines of numbers are
    mostly above 0, so an item without a price, say, ranks below items with a price. A
    `SimpleImputer` before the scaler gives it a typical price.

    Parameters
    ----------
    catalog : ItemCatalog or None, default=None
        The items and their content. None: `X` is one flat table that brings the
        content of each row's item along.
    modalities : mapping of str to slice, positions or column names, or None
        In the flat form: which columns of `X` form which modality. By default the
        prefix before ``__`` tells. A catalogue has its own.
    user_key : str, default="user_id"
        Column of `X` with the user ids, or else ``user_id``. That of the items is the
        catalogue's key.
    half_life : float, "auto" or None, default="auto"
        After so many later items, an item of the history counts half as much; None: all
        items count the same. "auto": if `X` has timestamps, the half-life with which
        earlier likes predict the latest ones best; otherwise None.

    Attributes
    ----------
    model_ : FittedModel
        Everything that is known; what follows are views of it.
    item_vectors_, user_vectors_ : DataFrame of shape (n, width of the content)
        float32, indexed by id, read-only; their inner product is the score.
    half_life_ : float or None
        The half-life of `half_life`, or what it chose.

    References
    ----------
    M. J. Pazzani and D. Billsus, "Content-based recommendation systems", The Adaptive
    Web, 2007.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec import ItemCatalog
    >>> from skmmrec.recommender import ContentRecommender
    >>> items = pd.DataFrame(
    ...     {"item_id": ["a", "b", "c", "d"],
    ...      "image__0": [1.0, 0.9, 0.1, 0.0], "image__1": [0.1, 0.0, 1.0, 0.9]}
    ... )
    >>> X = pd.DataFrame({"user_id": [1, 2], "item_id": ["a", "c"]})
    >>> rec = ContentRecommender(ItemCatalog(items)).fit(X)
    >>> rec.recommend([1], k=1)[["user_id", "item_id", "rank"]]
       user_id item_id  rank
    0        1       b     1
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "catalog": "no_validation",
        "modalities": [HasMethods("items"), None],
        "user_key": [str],
        "half_life": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
            None,
        ],
    }

    def __init__(
        self,
        catalog: ItemCatalog | None = None,
        *,
        modalities: Mapping[str, Any] | None = None,
        user_key: str = USER,
        half_life: float | Literal["auto"] | None = "auto",
    ) -> None:
        self.catalog = catalog
        self.modalities = modalities
        self.user_key = user_key
        self.half_life = half_life

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Table, y: Numbers | None = None, sample_weight: Numbers | None = None
    ) -> Self:
        """Look at the content of all items, and at who liked what.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            The columns ``user_id`` and ``item_id``, or else the first two, are the ids;
            a column ``timestamp`` orders the histories. Without a catalog the other
            columns are numeric content of the row's item.
        y : array-like of shape (n,) or None, default=None
            Strength of each interaction: above 0 it counts as liked, otherwise as seen
            and not liked. None: all are liked.
        sample_weight : array-like of shape (n,) or None, default=None
            A row of weight 0 is as if it were not there; others count alike.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For missing ids, an empty table, unknown columns, or an item that the
            catalogue lacks.
        """
        with self._all_or_nothing():
            check_catalogs(self)
            self._check_columns(X, reset=True)
            rows = self._read_rows(X, y, sample_weight)
            plan = self._plan()
            model = prepare(rows, plan, self.catalog, "softmax")
            self._adopt(finish(model, rows, plan, learn(model, rows, plan)))
        return self

    def _plan(self) -> Plan:
        return Plan(
            NetworkDesign("concat", MeanTower(), n_factors=None, user_embedding=False),
            Training(),
            Regularization(n_components=None, mute_noise=False),
            device="cpu",
            random_state=0,
            half_life=self.half_life,
        )
