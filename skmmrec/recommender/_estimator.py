"""The recommender's scikit-learn face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, SupportsIndex

import pandas as pd
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    StrOptions,
)
from sklearn.utils.validation import check_is_fitted

from skmmrec._sklearn import fit_context
from skmmrec.catalog import ItemCatalog
from skmmrec.fusion import Fusion, get_fusion
from skmmrec.interactions import USER, Numbers, RandomState, Table
from skmmrec.recommender._fitting import feed, finish, learn
from skmmrec.recommender._fusing import fuse_ahead
from skmmrec.recommender._idle_settings import refuse_idle
from skmmrec.recommender._lifecycle import add_users
from skmmrec.recommender._model import FittedModel
from skmmrec.recommender._preparation import check_catalogs, prepare
from skmmrec.recommender._rows import Rows
from skmmrec.recommender._settings import (
    EarlyStopping,
    Propagation,
    Regularization,
    Training,
    checked,
    tells_moved,
)
from skmmrec.recommender._user_towers import TowerSettings, get_tower
from skmmrec.recommender._vector_recommender import VectorRecommender
from skmmrec.recommender.memory import ItemMemory
from skmmrec.recommender.network import Objective, check_objective
from skmmrec.recommender.training import NetworkDesign, Plan

if TYPE_CHECKING:
    from sklearn.frozen import FrozenEstimator

    from skmmrec.llm import SoftTokenFuser


class MultimodalFusionRecommender(VectorRecommender):
    """Recommend items by what they say, show and sound like, and by who liked them.

    An item is an id embedding plus the fused vectors of its modalities; a user is the
    mean of the items that he or she liked. So a new item is recommended by its content,
    and a new user is served from a history, without training. The model is fitted by
    predicting each liked item from the user's other items: a softmax over this item and
    others, which are drawn by popularity. Where it helps, a memory of items adds to the
    scores: for each item, a list of what is liked together with it. `fit` chooses the
    values of all parameters that are "auto"; `choices_` has what was chosen, and why.

    Parameters
    ----------
    catalog : ItemCatalog or None, default=None
        The items and their content. None: `X` is one flat table that brings the
        content of each row's item along.
    fusion : str, Fusion subclass or SoftTokenFuser, default="gated"
        How an item's modalities become one vector: ``"concat"``, ``"weighted"``,
        ``"gated"``, ``"attention"``, ``"bilinear"``, ``"transformer"``,
        ``"cross_attention"``, ``"late"``, ``"late_mean"``, ``"late_stacking"``, a
        name given to `skmmrec.fusion.register_fusion`, or a class. A
        `skmmrec.llm.SoftTokenFuser` has a language model read the vectors as tokens
        next to the item's words, each distinct item of a catalogue once; words are the
        text columns of the catalogue's table, and a flat table has none.
    user_tower : {"mean", "attention", "sequence"} or tower, default="mean"
        How the items of a history become a user: their mean, a mean weighted by
        learned attention, or a transformer over the latest items in their order. A
        name stands for the defaults of `MeanTower`, `AttentionTower` and
        `SequenceTower`.
    objective : {"softmax", "bpr", "bce", "mse"} or list of these, default="softmax"
        What is learned: to rank each liked item above drawn ones ("softmax", "bpr");
        the probability of a like ("bce"; where `y` has no row that is not liked, drawn
        items stand in for them); or the rating ("mse"). A list names one for each
        column of `y`; recommendations rank by the first.
    n_factors : int, default=64
        Width of a network's item and user vectors.
    n_members : int, default=1
        Networks that are trained, each from its own initial state, and whose scores are
        averaged: their vectors stand side by side, ``n_members * n_factors`` wide. On
        some data two rank up to 3 % better than one, in 1.5 to 2 times the time.
    modalities : mapping of str to slice, positions or column names, or None
        In the flat form: which columns of `X` form which modality. By default the
        prefix before ``__`` tells. A catalogue has its own.
    user_catalog : ItemCatalog or None, default=None
        Content of the users, an `ItemCatalog` with ``key="user_id"``. It is fused like
        the content of items and added to the user's vector. `add_users` adds to it.
        Give ``history_dropout`` of `Regularization` with it.
    user_key : str, default="user_id"
        Column of `X` with the user ids. If there is no such column, the key of
        `user_catalog` is looked for, then ``user_id``. The column of the item ids is
        named by the key of the catalogue.
    half_life : float, "auto" or None, default="auto"
        With a half-life of 5, an item of the history counts half as much in the user's
        vector as soon as the user has liked 5 later items. None: all items count the
        same. "auto": if `X` has timestamps, it is chosen by how well the likes that a
        trial holds out are ranked by the likes before them. If no trial can tell, the
        latest likes of each history decide. Without timestamps, it is None.
        A model with a half-life predicts what a user likes next. So hold out the latest
        interactions to evaluate it, not random ones. The tower "sequence" learns the
        order by itself.
    memory : float, "auto" or None, default="auto"
        How much a memory of items counts beside the vectors. It has, for each item, a
        short list of others that were liked by the same users; with timestamps, and
        unless `half_life` is None, of others that were liked next. A number is a ratio
        of standard deviations over the items: that of what the memory adds to a user's
        scores, over that of the scores by vectors, such as 0.2. 0 or None: there is no
        memory. "auto": it is chosen by likes that a trial of two to four epochs holds
        out, and 0 unless these are ranked better by more than one standard error. Where
        ratings or clicks are predicted, there is no memory.
    cold_popularity : float or "auto", default="auto"
        A new item, which has no interactions, is ranked as if so many users had
        interacted with it, on average; its content moves it above or below that. With a
        small number, new items rarely reach the top of a list of all items. Near the
        median popularity they compete as equals, at the cost of items that are known to
        be liked. "auto": if `X` has timestamps, from the number of likes that new items
        got lately, compared with other items, and at least 0.5; otherwise 0.5.
        `recommend` can reserve places for new items in any case.
    propagation : Propagation or None, default=None
        A graph of similar items, over which their vectors are spread; None: there is
        none.
    pretrained : str, path, FrozenEstimator or None, default=None
        Folder of a recommender that was fitted on another domain and saved, or a fitted
        one in `sklearn.frozen.FrozenEstimator`. This one starts from its content space,
        fusion and towers, so parameters that shape these must be the same. They are
        trained at a tenth of the learning rate, so that few interactions do not undo
        what was learned. Users and items are not taken over.
    training : Training or None, default=None
        How networks are trained: epochs, batches, learning rate, negatives and more;
        None: by the defaults of `Training`.
    regularization : Regularization or None, default=None
        Dropout, penalties and other restraints; None: the defaults of
        `Regularization`.
    early_stopping : EarlyStopping or None, default=None
        Judge each epoch by likes that are held out, and keep the best; None: run all
        epochs.
    warm_start : bool, default=False
        Start `fit` from the last one: items and users that are known keep what was
        learned about them.
    device : str, default="auto"
        Torch device of the training, of the linear algebra of a fit where it has
        float64, and of comparing users and items; "auto" takes CUDA, then MPS, then the
        CPU. A fitted recommender whose device is not available answers on the CPU, with
        the same lists.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights and of all sampling; other threads neither change
        the results nor are changed by a fit. None draws a seed from NumPy's global
        generator, as everywhere in scikit-learn.
    verbose : bool or "auto", default="auto"
        Whether to show a progress bar; "auto": on a terminal only. Each epoch's loss
        goes to the log of ``skmmrec`` in any case.

    Attributes
    ----------
    model_ : FittedModel
        Everything that was learned; what follows are views of it.
    item_vectors_, user_vectors_ : DataFrame of shape (n, n_members * n_factors)
        float32, indexed by id, read-only: copy it to change it. An item's score for a
        user is their inner product plus the item's bias and what the memory adds.
    memory_ : ItemMemory or None
        For each item of a history, the items whose scores it raises, and by how much.
    item_biases_ : Series of length n_items
        float32, indexed by item id, read-only.
    loss_curve_ : list of float
        Mean loss of each epoch.
    validation_curve_ : list of float
        With early stopping: the metric of each epoch; a loss counts below 0.
    n_iter_ : int
        Number of epochs run.
    muted_modalities_ : list of str
        What ``mute_noise`` of `Regularization` left out.
    half_life_ : float or None
        The half-life of `half_life`, or what it chose.
    id_l2_ : float
        The precision of ``id_l2`` of `Regularization`, or what it learned.
    choices_ : dict of str to Choice
        What was left to `fit`, such as ``"batch_size"``, by name: the value that it
        chose, the reason and the figures that decided it.
    n_features_in_ : int
        Number of columns of `X` in `fit`.

    Notes
    -----
    A user without any history gets a vector that is learned from users with a single
    liked item. If there are no such users, the ranking is by popularity.

    The user as the mean of the other items' vectors, with one set of vectors on both
    sides, is the FISM model [1]_; the sampled softmax is corrected for the sampling
    [2]_. Content is centred, scaled to length 1 and reduced before it is fused.

    An item without interactions gets, besides its fused content, the embedding and the
    popularity that are expected of it, judging by items with similar content: a kernel
    ridge regression learns them at the end of `fit`.

    References
    ----------
    .. [1] S. Kabbur, X. Ning and G. Karypis, "FISM: factored item similarity models for
       top-N recommender systems", KDD 2013.
    .. [2] X. Yi et al., "Sampling-bias-corrected neural modeling for large corpus item
       recommendations", RecSys 2019.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec import ItemCatalog, MultimodalFusionRecommender
    >>> items = pd.DataFrame(
    ...     {"item_id": ["a", "b", "c", "d"],
    ...      "image__0": [1.0, 0.9, 0.1, 0.0], "image__1": [0.1, 0.0, 1.0, 0.9],
    ...      "text__0": [0.3, 0.4, 0.9, 0.8]}
    ... )
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("abcda")})
    >>> rec = MultimodalFusionRecommender(ItemCatalog(items), random_state=0).fit(X)
    >>> rec.recommend([3], k=1)[["user_id", "item_id", "rank"]]
       user_id item_id  rank
    0        3       b     1
    >>> rec.predict(X).shape, rec.transform(X).shape
    ((5,), (5, 64))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "catalog": "no_validation",
        "fusion": "no_validation",  # by `_fuser`, which says more
        "user_tower": "no_validation",
        "objective": "no_validation",
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "modalities": [HasMethods("items"), None],
        "user_catalog": "no_validation",
        "user_key": [str],
        "half_life": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
            None,
        ],
        "memory": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
            None,
        ],
        "cold_popularity": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "propagation": "no_validation",
        "pretrained": "no_validation",
        "training": "no_validation",
        "regularization": "no_validation",
        "early_stopping": "no_validation",
        "warm_start": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["boolean", StrOptions({"auto"})],
    }

    @tells_moved
    def __init__(
        self,
        catalog: ItemCatalog | None = None,
        *,
        fusion: str | type[Fusion] | SoftTokenFuser = "gated",
        user_tower: Literal["mean", "attention", "sequence"] | TowerSettings = "mean",
        objective: Objective | Sequence[Objective] = "softmax",
        n_factors: int = 64,
        n_members: int = 1,
        modalities: Mapping[str, Any] | None = None,
        user_catalog: ItemCatalog | None = None,
        user_key: str = USER,
        half_life: float | Literal["auto"] | None = "auto",
        memory: float | Literal["auto"] | None = "auto",
        cold_popularity: float | Literal["auto"] = "auto",
        propagation: Propagation | None = None,
        pretrained: str | PathLike[str] | FrozenEstimator | None = None,
        training: Training | None = None,
        regularization: Regularization | None = None,
        early_stopping: EarlyStopping | None = None,
        warm_start: bool = False,
        device: str = "auto",
        random_state: RandomState = None,
        verbose: bool | Literal["auto"] = "auto",
    ) -> None:
        self.catalog = catalog
        self.fusion = fusion
        self.user_tower = user_tower
        self.objective = objective
        self.n_factors = n_factors
        self.n_members = n_members
        self.modalities = modalities
        self.user_catalog = user_catalog
        self.user_key = user_key
        self.half_life = half_life
        self.memory = memory
        self.cold_popularity = cold_popularity
        self.propagation = propagation
        self.pretrained = pretrained
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
            The columns ``user_id`` and ``item_id`` are the ids, under these names or
            those of `user_key` and the catalogue's key; without such names, the first
            two are. A column ``timestamp`` orders the histories, which otherwise keep
            the order of the rows. If rows of equal user and time are most of all, and
            sorted by item, they are mixed. Without a catalog the other columns are
            numeric content of the row's item; where rows of one item differ, the first
            counts.
        y : array-like of shape (n,) or (n, n_tasks), or None, default=None
            Strength of each interaction. A row above 0 is liked; any other row is seen
            and not liked. So of ratings from 1 to 5 stars, subtract the rating that
            means indifference. None: all rows are liked. Where `y` itself is predicted
            ("mse", and "bce" if not all rows are liked), all rows are in the user's
            history, weighted by how far their answers are above or below the mean.
            Several columns are several tasks, whose answers may be missing (NaN).
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the rows in the loss; a row of weight 0 is as if it were not
            there. Where a user and an item occur in several rows, the last `y` counts
            (of several tasks, the last answer to each), the weights add up, and the
            item keeps the place of the first row in the history.

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
            plan = self._plan()
            source, is_own = self._source()
            self._check_columns(X, reset=True)
            rows = self._read_rows(X, y, sample_weight)
            model = prepare(
                rows,
                plan,
                self.catalog,
                self.objective,
                fuser=self._fuser,
                user_catalog=self.user_catalog,
                propagation=self.propagation,
                source=source,
            )
            refuse_idle(plan, model)
            found = learn(model, rows, plan, source, is_own)
            self._adopt(finish(model, rows, plan, found))
        return self

    def add_users(self, users: pd.DataFrame) -> Self:
        """Add new users, who are served by their content until they like something.

        Parameters
        ----------
        users : DataFrame of n rows
            The key column and content columns of the `user_catalog`. Of a user whom the
            catalogue has already, the id is enough.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Without a `user_catalog`, or for a user who is known already, comes twice
            or, but for ``on_empty="ignore"`` in the catalogue, has no content.
            Recommender and catalogue are as they were then.

        Notes
        -----
        The users are encoded once and appended to the catalogue, so that the next `fit`
        knows them. A recommender that was loaded needs its catalogue again:
        ``set_params(user_catalog=...)``.

        Examples
        --------
        >>> import pandas as pd
        >>> from skmmrec import ItemCatalog, MultimodalFusionRecommender
        >>> items = pd.DataFrame({"item_id": list("abcd"), "image__0": [1, 1, -1, -1]})
        >>> users = pd.DataFrame({"user_id": [1, 2, 3], "age__0": [1.0, 1.0, -1.0]})
        >>> X = pd.DataFrame({"user_id": [1, 1, 2, 3, 3], "item_id": list("abacd")})
        >>> rec = MultimodalFusionRecommender(
        ...     ItemCatalog(items),
        ...     user_catalog=ItemCatalog(users, key="user_id"),
        ...     random_state=0,
        ... ).fit(X)
        >>> rec.add_users(pd.DataFrame({"user_id": [4], "age__0": [-1.0]}))
        ... # doctest: +ELLIPSIS
        MultimodalFusionRecommender(...)
        >>> len(rec.recommend([4], k=2))
        2
        """
        check_is_fitted(self)
        if self.user_catalog is None:
            raise ValueError(
                "add_users needs a user_catalog: it encodes the users' content (after "
                "load, set_params(user_catalog=...))"
            )
        with self._changing():
            self.model_ = add_users(self.model_, self.user_catalog, users)
        return self

    @property
    def muted_modalities_(self) -> list[str]:
        """Modalities that have nothing to do with who likes what."""
        return list(self.model_.space.muted)

    @property
    def id_l2_(self) -> float:
        """Precision of the prior of the item embeddings."""
        return self.model_.id_l2

    @property
    def memory_(self) -> ItemMemory | None:
        """Which items speak for which others, and how strongly."""
        return self.model_.memory

    def _plan(self) -> Plan:
        """Check the parameters, and put the settings together."""
        check_objective(self.objective)
        check_catalogs(self)
        checked(self.training, "training", Training, self)
        checked(self.regularization, "regularization", Regularization, self)
        checked(self.early_stopping, "early_stopping", EarlyStopping, self)
        checked(self.propagation, "propagation", Propagation, self)
        tower = get_tower(self.user_tower)
        fusion: str | type[Fusion] = "concat"
        if self._fuser is None and isinstance(self.fusion, str | type):
            fusion = self.fusion
        get_fusion(fusion)
        return Plan(
            NetworkDesign(fusion, tower, self.n_factors, tower.user_embedding),
            Training() if self.training is None else self.training,
            Regularization() if self.regularization is None else self.regularization,
            self.early_stopping,
            self.n_members,
            self.cold_popularity,
            self.device,
            self.random_state,
            self.memory,
            self.half_life,
        )

    @property
    def _fuser(self) -> SoftTokenFuser | None:
        """What fuses content before it enters the networks."""
        if isinstance(self.fusion, str | type):
            return None
        from skmmrec.llm import SoftTokenFuser

        if isinstance(self.fusion, SoftTokenFuser):
            return self.fusion
        what = f"{self.fusion!r}"
        if isinstance(self.fusion, Fusion):
            kind = type(self.fusion).__name__
            what = f"an instance of {kind}: give the class, fusion={kind}"
        raise InvalidParameterError(
            f"The 'fusion' parameter of {type(self).__name__} must be a str, a "
            f"subclass of Fusion or a SoftTokenFuser, got {what}."
        )

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Do ahead, in one place, what processes would each do with a pickle."""
        if not hasattr(self, "model_"):
            fuse_ahead(self.fusion, self.catalog)
        return super().__reduce_ex__(protocol)

    def _source(self) -> tuple[FittedModel | None, bool]:
        """Return a model to start from, and whether it is an earlier fit of this."""
        if self.warm_start and hasattr(self, "model_"):
            return self.model_, True
        if self.pretrained is None:
            return None, False
        return resolve_pretrained(self.pretrained), False

    def _take_in(self, rows: Rows) -> FittedModel:
        return feed(self.model_, rows, self._plan())


def resolve_pretrained(pretrained: object) -> FittedModel:
    """Fitted model of the ``pretrained`` parameter.

    Raises ValueError if it is neither a saved recommender's folder nor a fitted one.
    """
    if isinstance(pretrained, str | PathLike):
        return MultimodalFusionRecommender.load(pretrained).model_
    recommender = getattr(pretrained, "estimator", pretrained)
    model = getattr(recommender, "model_", None)
    if not isinstance(model, FittedModel):
        raise ValueError(
            "pretrained must be the folder of a saved recommender or a fitted one in "
            f"sklearn.frozen.FrozenEstimator, got {pretrained!r}"
        )
    return model
