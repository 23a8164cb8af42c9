"""The recommender's scikit-learn face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import (
    _fit_context,
)
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skmmrec._ids import check_same_kind, plain
from skmmrec.catalog import ItemCatalog
from skmmrec.catalog._catalog import check_not_empty
from skmmrec.fusion import Fusion
from skmmrec.recommender import _persistence
from skmmrec.recommender._learner import Learner
from skmmrec.recommender._tasks import predicts_ratings
from skmmrec.recommender._towers import TOWERS


class MultimodalFusionRecommender(Learner):
    """Recommend items by what they say, show and sound like, and by who liked them.

    An item is an id embedding plus the fused vectors of its modalities; a user is the
    mean of the items that he or she liked. So a new item is served by its content and a
    new user by a history, without training. The model is fitted by predicting each
    liked item from the user's other items, by a softmax over items drawn by popularity.

    Parameters
    ----------
    catalog : ItemCatalog or None, default=None
        The items and their content. None: `X` is one flat table that brings the
        content of each row's item along.
    mode : {"fusion", "factors", "content"}, default="fusion"
        "factors" is plain matrix factorisation on ids, without content or histories;
        "content" trains nothing and scores by the mean cosine between an item's
        content and that of the user's items.
    fusion : str or Fusion subclass, default="gated"
        How an item's modalities become one vector: ``"concat"``, ``"weighted"``,
        ``"gated"``, ``"attention"``, ``"bilinear"``, ``"transformer"``,
        ``"cross_attention"``, ``"late"``, ``"late_mean"``, ``"late_stacking"``, a
        name given to `skmmrec.fusion.register_fusion`, or ``"llm"``: a language model
        reads the vectors as tokens next to the item's words.
    llm : str, path, SoftTokenFuser or None, default=None
        With ``fusion="llm"``: the language model, by name or path, or configured as a
        `skmmrec.llm.SoftTokenFuser`. It reads each distinct item of a catalogue once
        and is not trained, unless that asks for adapters. Words are the text columns of
        the catalogue's table; a flat table has none, so its vectors are read alone.
    n_factors : int, default=64
        Width of a network's item and user vectors; in the mode "content" it follows
        from the content.
    n_members : int, default=1
        Networks that are trained, each from its own initial state, and whose scores are
        averaged: their vectors stand side by side, ``n_members * n_factors`` wide. Two
        or three rank better than one, at two or three times the cost.
    modalities : mapping of str to slice, positions or column names, or None
        In the flat form: which columns of `X` form which modality. By default the
        prefix before ``__`` tells.
    n_components : int or None, default=64
        Principal components to which wider modalities are reduced; None keeps all.
    mute_noise : bool, default=True
        Leave out modalities that have nothing to do with who likes what: items alike
        in them are liked together no more often than by chance, by Mantel's test, while
        those alike in another modality are. Where there is little to tell it from,
        nothing is left out.
    user_tower : {"mean", "attention", "sequence"}, default="mean"
        How the items of a history become a user: their mean, a mean weighted by
        learned attention, or a transformer over the latest items in their order.
    max_history : int, default=20
        How much of a history a user is made of. The tower "sequence" looks at the
        latest items only. For the other towers, training draws about as many of a
        longer history anew for each batch, which costs less and keeps long histories
        from being learned by heart, while serving takes them whole.
    user_embedding : bool, default=False
        Add an embedding of the user's id to the user's vector.
    user_catalog : ItemCatalog or None, default=None
        Content of the users, an `ItemCatalog` with ``key="user_id"``; fused like that
        of items and added to the user's vector. Give `history_dropout` with it.
    propagation : float, default=0.0
        Share of an item's vector that comes from its neighbours in a graph of items:
        by interactions, and by each modality.
    n_neighbors : int, default=10
        Neighbours of an item from each of these sources.
    objective : {"softmax", "bpr", "bce", "mse"} or list of these, default="softmax"
        What is learned: to rank each liked item above drawn ones ("softmax", "bpr");
        the probability of a like ("bce"; where `y` has no row that is not liked, drawn
        items stand in for them); or the rating ("mse"). A list names one for each
        column of `y`; recommendations rank by the first.
    task_weights : sequence of float or None, default=None
        Weights of the losses of several tasks; None: learned.
    max_epochs : int, default=10
        Passes over the interactions.
    batch_size : int or "auto", default="auto"
        Interactions per step. "auto": 512 where items or users have many interactions
        and 2,048 where they have few, but 30 to 500 batches an epoch.
    learning_rate : float, default=0.01
        Peak step size of Adam; warmed up linearly, then lowered by a cosine.
    n_negatives : int, default=512
        Items that each batch is ranked against, drawn by popularity ("softmax") or
        uniformly; where there are no more liked items than that, all of them.
    own_negatives : bool or "auto", default="auto"
        Whether these may be other items that the user likes. Ranking, which leaves a
        user's items out, does not ask for that, but where there is little to learn from
        it keeps items from being alike to themselves only. "auto": where neither items
        nor users have many interactions.
    dropout : float, default=0.3
        Rate of dropout on the user vector in training.
    modality_dropout : float, default=0.2
        Rate at which training hides a modality of an item.
    id_dropout : float, default=0.0
        Rate at which training hides an item's id embedding, so that content learns to
        speak for items that have no interactions. 1 is a purely content-based model.
    history_dropout : float, default=0.0
        Rate at which training hides a user's whole history, so that the default vector
        and the users' content learn to speak for new users.
    l2 : float, default=0.001
        Weight of the squared length of the item vectors in the loss.
    id_l2 : float or "auto", default="auto"
        Precision of a normal prior of the item embeddings: half of it times their
        squared length, over the number of interactions, is added to the loss. The more,
        the more content speaks for an item, and the less what its own interactions say.
        "auto" is 1, or up to 30 if that clearly suits interactions which a trial of two
        to four epochs leaves out, where there are 2,000 of them and no `max_time`.
    alignment : float, default=0.0
        Weight of a contrastive loss between the modalities of an item (InfoNCE).
    modality_balance : float, default=0.0
        Weight of each modality's own ranking loss, so that none is starved by one that
        learns faster.
    history_exponent : float, default=1.0
        A user is the sum of n item vectors over n to this power: 1 is the mean, less
        lets long histories speak louder.
    half_life : float, "auto" or None, default="auto"
        After how many later items an item of the history counts half in the user's
        vector; None: all count the same. "auto" chooses what lets earlier likes predict
        the latest best if `X` has timestamps, else None. Recommendations then are for
        what comes next, which a random split of past interactions does not judge:
        hold out the latest. The tower "sequence" learns the order by itself.
    cold_popularity : float, default=0.5
        Number of users that an item without any is credited with, on average: its
        content tells how far it is above or below. With little, new items rarely reach
        the top of a list of all items; near the median popularity they compete as
        equals, at the cost of those known to be liked.
    early_stopping : bool, default=False
        Hold out a part of the likes, judge each epoch by them, stop when it gets no
        better and keep the best epoch. In the end they count as history all the same.
    validation_fraction : float, default=0.1
        Share of the likes that is held out, at least one of each user staying.
    validation_metric : str, default="auto"
        A ranking metric such as ``"ndcg@10"``, or ``"loss"``. "auto": NDCG@10, and the
        loss where ratings or the probability of given rows are predicted.
    n_iter_no_change : int, default=3
        Epochs without a better one after which training stops.
    clip_norm : float or None, default=None
        Length to which the gradient is clipped.
    max_time : float or None, default=None
        Seconds after which training stops, at the end of a step.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the products in training; "auto" is mixed precision with bfloat16
        on CUDA and float32 elsewhere.
    warm_start : bool, default=False
        Start `fit` from the last one: items and users that are known keep what was
        learned about them.
    partial_fit_epochs : int, default=0
        Passes that `partial_fit` trains over the new interactions, mixed with as many
        old ones against forgetting, at a tenth of the learning rate. 0: it folds them
        in without training.
    pretrained : str, Path, FrozenEstimator or None, default=None
        Folder of a recommender saved on another domain, or a fitted one in
        `sklearn.frozen.FrozenEstimator`, whose content space, fusion and towers this
        one starts from, and goes on with at a tenth of the learning rate, so that few
        interactions do not undo them. The ids are its own.
    checkpoint_dir : str, Path or None, default=None
        Folder that keeps the state of training after each epoch: after a kill, the same
        `fit` goes on from there, to the same result.
    device : str, default="auto"
        Torch device of the training; "auto" takes CUDA, then MPS, then the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights and of all sampling.
    verbose : bool, default=False
        Print the loss of each epoch.

    Attributes
    ----------
    item_vectors_, user_vectors_ : DataFrame of shape (n, n_members * n_factors)
        float32, indexed by id. An item's score for a user is their inner product plus
        the item's bias.
    item_biases_ : Series of length n_items
        float32, indexed by item id.
    loss_curve_ : list of float
        Mean loss of each epoch.
    validation_curve_ : list of float
        With early stopping: the metric of each epoch; a loss counts below 0.
    n_iter_ : int
        Number of epochs run.
    muted_modalities_ : list of str
        What `mute_noise` left out.
    half_life_ : float or None
        The half-life of `half_life`, or what it chose.
    id_l2_ : float
        The precision of `id_l2`, or what it learned.
    flat_ : bool
        Whether `X` brings the content along.
    n_features_in_ : int
        Number of columns of `X` in `fit`.

    Notes
    -----
    A user without any history gets a vector that is learned from those with a single
    liked item; where there are none, the ranking is by popularity.

    The user as the mean of the other items' vectors, with one set of vectors on both
    sides, is the FISM model [1]_; the sampled softmax is corrected for the sampling
    [2]_. Content is centred, scaled to length 1 and reduced before it is fused.

    An item that nobody has met gets, besides its fused content, the embedding and the
    popularity that items of like content lead to expect: a kernel ridge regression
    learns them in the end of `fit`.

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
        "mode": [StrOptions({"fusion", "factors", "content"})],
        "fusion": [str, type],
        "llm": [str, Path, HasMethods("transform"), None],
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "modalities": [HasMethods("items"), None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "mute_noise": ["boolean"],
        "user_tower": [StrOptions(set(TOWERS))],
        "max_history": [Interval(Integral, 1, None, closed="left")],
        "user_embedding": ["boolean"],
        "user_catalog": "no_validation",
        "propagation": [Interval(Real, 0, 1, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "objective": "no_validation",
        "task_weights": ["array-like", None],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "n_negatives": [Interval(Integral, 1, None, closed="left")],
        "own_negatives": ["boolean", StrOptions({"auto"})],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "modality_dropout": [Interval(Real, 0, 1, closed="left")],
        "id_dropout": [Interval(Real, 0, 1, closed="both")],
        "history_dropout": [Interval(Real, 0, 1, closed="left")],
        "l2": [Interval(Real, 0, None, closed="left")],
        "id_l2": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "alignment": [Interval(Real, 0, None, closed="left")],
        "modality_balance": [Interval(Real, 0, None, closed="left")],
        "history_exponent": [Interval(Real, 0, None, closed="left")],
        "half_life": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
            None,
        ],
        "cold_popularity": [Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "validation_metric": [str],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "warm_start": ["boolean"],
        "partial_fit_epochs": [Interval(Integral, 0, None, closed="left")],
        "pretrained": "no_validation",
        "checkpoint_dir": [str, Path, None],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        catalog: ItemCatalog | None = None,
        *,
        mode: str = "fusion",
        fusion: str | type[Fusion] = "gated",
        llm: Any = None,
        n_factors: int = 64,
        n_members: int = 1,
        modalities: Mapping[str, Any] | None = None,
        n_components: int | None = 64,
        mute_noise: bool = True,
        user_tower: str = "mean",
        max_history: int = 20,
        user_embedding: bool = False,
        user_catalog: ItemCatalog | None = None,
        propagation: float = 0.0,
        n_neighbors: int = 10,
        objective: str | Sequence[str] = "softmax",
        task_weights: Sequence[float] | None = None,
        max_epochs: int = 10,
        batch_size: int | str = "auto",
        learning_rate: float = 0.01,
        n_negatives: int = 512,
        own_negatives: bool | str = "auto",
        dropout: float = 0.3,
        modality_dropout: float = 0.2,
        id_dropout: float = 0.0,
        history_dropout: float = 0.0,
        l2: float = 1e-3,
        id_l2: float | str = "auto",
        alignment: float = 0.0,
        modality_balance: float = 0.0,
        history_exponent: float = 1.0,
        half_life: float | str | None = "auto",
        cold_popularity: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        validation_metric: str = "auto",
        n_iter_no_change: int = 3,
        clip_norm: float | None = None,
        max_time: float | None = None,
        precision: str = "auto",
        warm_start: bool = False,
        partial_fit_epochs: int = 0,
        pretrained: Any = None,
        checkpoint_dir: str | Path | None = None,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.catalog = catalog
        self.mode = mode
        self.fusion = fusion
        self.llm = llm
        self.n_factors = n_factors
        self.n_members = n_members
        self.modalities = modalities
        self.n_components = n_components
        self.mute_noise = mute_noise
        self.user_tower = user_tower
        self.max_history = max_history
        self.user_embedding = user_embedding
        self.user_catalog = user_catalog
        self.propagation = propagation
        self.n_neighbors = n_neighbors
        self.objective = objective
        self.task_weights = task_weights
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.n_negatives = n_negatives
        self.own_negatives = own_negatives
        self.dropout = dropout
        self.modality_dropout = modality_dropout
        self.id_dropout = id_dropout
        self.history_dropout = history_dropout
        self.l2 = l2
        self.id_l2 = id_l2
        self.alignment = alignment
        self.modality_balance = modality_balance
        self.history_exponent = history_exponent
        self.half_life = half_life
        self.cold_popularity = cold_popularity
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.validation_metric = validation_metric
        self.n_iter_no_change = n_iter_no_change
        self.clip_norm = clip_norm
        self.max_time = max_time
        self.precision = precision
        self.warm_start = warm_start
        self.partial_fit_epochs = partial_fit_epochs
        self.pretrained = pretrained
        self.checkpoint_dir = checkpoint_dir
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # -- fitting ---------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from who met what.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            The columns ``user_id`` and ``item_id``, or else the first two, are the ids;
            a column ``timestamp`` orders the histories, which otherwise keep the order
            of the rows. Without a catalog the other columns are numeric content of the
            row's item; where rows of one item differ, the first counts.
        y : array-like of shape (n,) or (n, n_tasks), or None, default=None
            Strength of each interaction: above 0 it counts as liked, otherwise as seen
            and not liked. None: all are liked. Where `y` itself is predicted ("mse",
            and "bce" if not all is liked), every row makes up the user's history,
            weighed by how far its answer is above or below the mean. Several columns
            are several tasks, whose answers may be missing (NaN).
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the rows in the loss; a row of weight 0 is as if it were not
            there. Of several rows with one user and item the last `y` counts, and the
            weights add up.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For missing ids, an empty table, unknown columns, or an item that the
            catalogue lacks.
        """
        self._check_parameters()
        self.flat_ = self.catalog is None
        data, answers, weights = self._read_all(X, y, sample_weight, reset=True)
        self._learn(data, answers, weights)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Take in feedback: it moves the users' vectors at once.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            As in `fit`. Users may be new and, in the flat form, items too; with a
            catalog, `add_items` comes first. What is taken in comes after all that was
            known before; a ``timestamp`` orders these rows among themselves.
        y : array-like of shape (n,) or (n, n_tasks), or None, default=None
            As in `fit`; 0 takes back an earlier like.
        sample_weight : array-like of shape (n,) or None, default=None
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`; nothing has changed then.

        Notes
        -----
        A user is made of what he or she liked, so new interactions are folded in
        exactly. What was learned in `fit` (embeddings, fusion, biases) stays as it is
        until the next `fit`, unless `partial_fit_epochs` asks for training.
        """
        if not hasattr(self, "networks_"):
            return self.fit(X, y, sample_weight)
        self._take_in(*self._read_all(X, y, sample_weight))
        return self

    def add_items(self, items: pd.DataFrame) -> Self:
        """Add new items, which are served by their content.

        Parameters
        ----------
        items : DataFrame of n rows
            The key column and content columns of the catalogue, which itself stays as
            it is.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Without a catalog, or for an item that is known already, comes twice or, but
            for ``on_empty="ignore"`` in the catalogue, has no content.
        """
        check_is_fitted(self)
        if self.catalog is None:
            raise ValueError(
                "add_items needs a catalog: it encodes the items' content (after load, "
                "give load(..., catalog=...))"
            )
        added = ItemCatalog(items, key=self.catalog.key)
        known = np.flatnonzero(self.item_index_.get_indexer(added.ids) >= 0)
        if len(known):
            raise ValueError(
                f"item {plain(added.ids[known[0]])!r} (row {known[0]}) is known "
                f"already ({len(known)} such rows)"
            )
        check_same_kind(added.ids.to_numpy(), self.item_index_, self.catalog.key)
        content = added.items.drop(columns=self.catalog.key)
        blocks = self.catalog.encode(content)
        if self.catalog.on_empty == "raise":
            check_not_empty(added.ids, blocks)
        self._append_items(added.ids.to_numpy(), blocks, content)
        return self

    # -- keeping ---------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the fitted model as a folder of safetensors and JSON, without pickle.

        Parameters
        ----------
        path : str or Path
            Folder to make; an earlier model there is replaced as a whole. Neither the
            catalogue's raw content nor any encoder's weights are written.
        """
        check_is_fitted(self)
        _persistence.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path, catalog: ItemCatalog | None = None) -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : str or Path
            The folder.
        catalog : ItemCatalog or None, default=None
            Needed only to ask by raw content.

        Returns
        -------
        MultimodalFusionRecommender
            Fitted, on the CPU.

        Raises
        ------
        FileNotFoundError
            Where there is no model.
        ValueError
            Where the files are damaged or of another kind.
        """
        return _persistence.load(cls, Path(path), catalog)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        tags.target_tags.required = predicts_ratings(self.objective)
        return tags
