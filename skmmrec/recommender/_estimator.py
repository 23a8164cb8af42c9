"""The recommender's scikit-learn face."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy, deepcopy
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import Tags
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    StrOptions,
)
from sklearn.utils.validation import check_is_fitted

from skmmrec._ids import (
    ITEM,
    USER,
    check_ids,
    check_same_kind,
    plain,
    sorted_index,
)
from skmmrec.catalog import Blocks, ItemCatalog
from skmmrec.encoders._devices import resolve_device
from skmmrec.fusion import Fusion, get_fusion
from skmmrec.recommender import _persistence
from skmmrec.recommender._base import BaseRanker, check_k
from skmmrec.recommender._content import ContentSpace
from skmmrec.recommender._fitting import (
    choose_batch_size,
    make_network,
    seeded,
    to_tensors,
)
from skmmrec.recommender._interactions import (
    Interactions,
    read_interactions,
    read_strengths,
)
from skmmrec.recommender._network import FusionNetwork
from skmmrec.recommender._retrieval import ranked_frame, score_pairs, top_k
from skmmrec.recommender._serving import ServingVectors
from skmmrec.recommender._training import Trainer, TrainingOptions

ROWS_PER_CHUNK = 8192


class MultimodalFusionRecommender(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseRanker
):
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
    fusion : str or Fusion subclass, default="gated"
        How an item's modalities become one vector: ``"concat"``, ``"weighted"``,
        ``"gated"``, ``"attention"``, ``"bilinear"``, ``"transformer"``,
        ``"cross_attention"``, or a name given to `skmmrec.fusion.register_fusion`.
    n_factors : int, default=64
        Width of the item and user vectors.
    modalities : mapping of str to slice, positions or column names, or None
        In the flat form: which columns of `X` form which modality. By default the
        prefix before ``__`` tells.
    n_components : int or None, default=64
        Principal components to which wider modalities are reduced; None keeps all.
    max_epochs : int, default=10
        Passes over the interactions.
    batch_size : int or "auto", default="auto"
        Interactions per step. "auto": at least 30 batches an epoch, at most 512 where
        items have many interactions and 2,048 where they have few.
    learning_rate : float, default=0.01
        Peak step size of Adam; warmed up linearly, then lowered by a cosine.
    n_negatives : int, default=512
        Items that each batch is ranked against, drawn by popularity.
    dropout : float, default=0.3
        Rate of dropout on the user vector in training.
    modality_dropout : float, default=0.2
        Rate at which training hides a modality of an item.
    id_dropout : float, default=0.0
        Rate at which training hides an item's id embedding, so that content learns to
        speak for items that have no interactions. 1 is a purely content-based model.
    l2 : float, default=0.001
        Weight of the squared length of the item vectors in the loss.
    history_exponent : float, default=1.0
        A user is the sum of n item vectors over n to this power: 1 is the mean, less
        lets long histories speak louder.
    cold_popularity : float, default=0.5
        Number of users that an item without any is credited with. With little, new
        items rarely reach the top of a list of all items; near the median popularity
        they compete as equals, at the cost of those known to be liked.
    device : str, default="auto"
        Torch device of the training; "auto" takes CUDA, then MPS, then the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights and of all sampling.
    verbose : bool, default=False
        Print the loss of each epoch.

    Attributes
    ----------
    item_vectors_, user_vectors_ : DataFrame of shape (n, n_factors)
        float32, indexed by id. An item's score for a user is their inner product plus
        the item's bias.
    item_biases_ : Series of length n_items
        float32, indexed by item id.
    loss_curve_ : list of float
        Mean loss of each epoch.
    n_iter_ : int
        Number of epochs run.
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
        "fusion": [str, type],
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "modalities": [HasMethods("items"), None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "n_negatives": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "modality_dropout": [Interval(Real, 0, 1, closed="left")],
        "id_dropout": [Interval(Real, 0, 1, closed="both")],
        "l2": [Interval(Real, 0, None, closed="left")],
        "history_exponent": [Interval(Real, 0, None, closed="left")],
        "cold_popularity": [Interval(Real, 0, None, closed="neither")],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        catalog: ItemCatalog | None = None,
        *,
        fusion: str | type[Fusion] = "gated",
        n_factors: int = 64,
        modalities: Mapping[str, Any] | None = None,
        n_components: int | None = 64,
        max_epochs: int = 10,
        batch_size: int | str = "auto",
        learning_rate: float = 0.01,
        n_negatives: int = 512,
        dropout: float = 0.3,
        modality_dropout: float = 0.2,
        id_dropout: float = 0.0,
        l2: float = 1e-3,
        history_exponent: float = 1.0,
        cold_popularity: float = 0.5,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.catalog = catalog
        self.fusion = fusion
        self.n_factors = n_factors
        self.modalities = modalities
        self.n_components = n_components
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.n_negatives = n_negatives
        self.dropout = dropout
        self.modality_dropout = modality_dropout
        self.id_dropout = id_dropout
        self.l2 = l2
        self.history_exponent = history_exponent
        self.cold_popularity = cold_popularity
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # -- fitting ---------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from who met what.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            The columns ``user_id`` and ``item_id``, or else the first two, are the ids;
            a column ``timestamp`` orders the histories, which otherwise keep the order
            of the rows. Without a catalog the other columns are numeric content of the
            row's item; where rows of one item differ, the first counts.
        y : array-like of shape (n,) or None, default=None
            Strength of each interaction: above 0 it counts as liked, otherwise as seen
            and not liked. None: all are liked. Of several rows with one user and item
            the last counts.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For missing ids, an empty table, unknown columns, or an item that the
            catalogue lacks.
        """
        self._check_catalog()
        fusion, device = get_fusion(self.fusion), resolve_device(self.device)
        self.flat_ = self.catalog is None
        data = self._read(X, reset=True)
        y = read_strengths(y, data)
        items, blocks = self._collect_items(data)
        self._fit_histories(data, y, items)
        self.content_space_ = ContentSpace.fit(blocks, self.n_components)
        self.content_ = self.content_space_.transform(blocks)
        self._fit_network(fusion, device)
        self._publish_items()
        self._publish_users()
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Take in feedback: it moves the users' vectors at once, without training.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            As in `fit`. Users may be new and, in the flat form, items too; with a
            catalog, `add_items` comes first.
        y : array-like of shape (n,) or None, default=None
            As in `fit`; 0 takes back an earlier like.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`; nothing has changed then.

        Notes
        -----
        A user is the mean of what he or she liked, so new interactions are folded in
        exactly. What was learned in `fit` (embeddings, fusion, biases) stays as it is
        until the next `fit`.
        """
        if not hasattr(self, "network_"):
            return self.fit(X, y)
        data = self._read(X)
        y = read_strengths(y, data)
        if data.content is None:
            self._check_known(data.items, self.item_index_)
        check_same_kind(data.users, self.user_index_, USER)
        check_same_kind(data.items, self.item_index_, ITEM)
        self._append_items(*self._new_items(data))
        self._extend_histories(data, y)
        self._publish_users()
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
            Without a catalog, or for an item that is known already or comes twice.
        """
        check_is_fitted(self)
        if self.catalog is None:
            raise ValueError("add_items needs a catalog: it encodes the items' content")
        added = ItemCatalog(items, key=self.catalog.key)
        known = np.flatnonzero(self.item_index_.get_indexer(added.ids) >= 0)
        if len(known):
            raise ValueError(
                f"item {plain(added.ids[known[0]])!r} (row {known[0]}) is known "
                f"already ({len(known)} such rows)"
            )
        check_same_kind(added.ids.to_numpy(), self.item_index_, self.catalog.key)
        content = added.items.drop(columns=self.catalog.key)
        self._append_items(added.ids.to_numpy(), self.catalog.encode(content))
        return self

    def _new_items(self, data: Interactions) -> tuple[NDArray, Blocks]:
        """Ids and content of the items that a flat table brings along."""
        if data.content is None:
            return data.items[:0], Blocks({}, np.empty((0, 0), bool))
        is_new = self.item_index_.get_indexer(data.items) < 0
        first = is_new & ~pd.Index(data.items).duplicated()
        return data.items[first], data.content.take(first)

    def _with_items_of(self, data: Interactions) -> Self:
        ids, content = self._new_items(data)
        if len(ids) == 0:
            return self
        model = copy(self)
        model.network_ = deepcopy(self.network_)
        model._append_items(ids, content)
        return model

    def _append_items(self, ids: NDArray, blocks: Blocks) -> None:
        if len(ids) == 0:
            return
        content = self.content_space_.transform(blocks)
        self.item_index_ = self.item_index_.append(pd.Index(ids))
        self.content_ = self.content_.append(content)
        self.network_.append_items(len(ids), self._cold_bias)
        n_items = len(self.item_index_)
        self.history_ = replace(self.history_, n_items=n_items)
        self.seen_ = replace(self.seen_, n_items=n_items)
        self._publish_items()

    @property
    def _cold_bias(self) -> float:
        return float(np.log(self.cold_popularity))

    def _check_catalog(self) -> None:
        if not isinstance(self.catalog, ItemCatalog | None):
            raise InvalidParameterError(
                f"The 'catalog' parameter of {type(self).__name__} must be an "
                f"ItemCatalog or None, got {type(self.catalog).__name__}; a table of "
                "items becomes a catalogue by ItemCatalog(items, encoder)."
            )

    def _read(self, X: Any, *, reset: bool = False) -> Interactions:
        if reset or self.flat_:
            self._check_columns(X, reset)
        return read_interactions(
            X,
            content="read" if self.flat_ else "refuse",
            modalities=self.modalities,
        )

    def _collect_items(self, data: Interactions) -> tuple[pd.Index, Blocks]:
        """Index of all items, sorted, and their content in that order."""
        if self.catalog is None:
            assert data.content is not None
            items = sorted_index(data.items)
            first = pd.Index(data.items).drop_duplicates()
            rows = np.flatnonzero(~pd.Index(data.items).duplicated())
            return items, data.content.take(rows[first.get_indexer(items)])
        self._check_known(data.items, self.catalog.ids)
        items = sorted_index(self.catalog.ids.to_numpy())
        order = self.catalog.ids.get_indexer(items)
        return items, self.catalog.blocks.take(order)

    def _fit_network(self, fusion: type[Fusion], device: torch.device) -> None:
        with seeded(self.random_state, device):
            network = self._make_network(fusion).to(device)
            content = to_tensors(self.content_, torch.float32, device)
            trainer = Trainer(network, content, self.history_, self._options())
            self.loss_curve_ = list(self._report(trainer.run()))
        self.n_iter_ = len(self.loss_curve_)
        self.network_ = network.cpu()
        with torch.no_grad():
            self.network_.item_embedding[self.history_.popularity == 0] = 0.0

    def _make_network(self, fusion: type[Fusion]) -> FusionNetwork:
        return make_network(
            fusion,
            self.content_space_.widths,
            self.history_,
            n_factors=self.n_factors,
            history_exponent=self.history_exponent,
            cold_popularity=self.cold_popularity,
        )

    def _options(self) -> TrainingOptions:
        size = self.batch_size
        return TrainingOptions(
            epochs=self.max_epochs,
            batch_size=choose_batch_size(self.history_)
            if size == "auto"
            else int(size),
            learning_rate=self.learning_rate,
            n_negatives=self.n_negatives,
            dropout=self.dropout,
            modality_dropout=self.modality_dropout,
            id_dropout=self.id_dropout,
            l2=self.l2,
        )

    def _report(self, losses: Iterator[float]) -> Iterator[float]:
        for epoch, loss in enumerate(losses, start=1):
            if self.verbose:
                print(f"epoch {epoch}/{self.max_epochs}: loss {loss:.4f}")
            yield loss

    # -- vectors ---------------------------------------------------------------------

    def _publish_items(self) -> None:
        rows = np.arange(len(self.item_index_))
        items = self._item_vectors(rows, self.content_)
        self.item_vectors_ = pd.DataFrame(items, self.item_index_)
        biases = self.network_.item_bias.detach().numpy().copy()
        self.item_biases_ = pd.Series(biases, self.item_index_)

    def _publish_users(self) -> None:
        histories = self.history_.to_csr(np.float64)
        users = self._user_vectors(histories, self.item_vectors_.to_numpy())
        self.user_vectors_ = pd.DataFrame(users, self.user_index_)

    def _item_vectors(self, rows: NDArray, content: Blocks) -> NDArray[np.float32]:
        """Vectors of items with this content; row -1 is an item without an embedding.

        Computed in float64, so that no vector depends on the batch it comes in.
        """
        embedding = self.network_.item_embedding.detach().numpy()[rows]
        vectors = self._fuse(content) + np.where(rows[:, None] >= 0, embedding, 0.0)
        return vectors.astype(np.float32)

    @torch.no_grad()
    def _fuse(self, content: Blocks) -> NDArray[np.float64]:
        fusion = deepcopy(self.network_.fusion)
        if fusion is None:
            return np.zeros((len(content), self.n_factors))
        fusion = fusion.double().eval()
        parts = [
            content.take(slice(start, start + ROWS_PER_CHUNK))
            for start in range(0, len(content), ROWS_PER_CHUNK)
        ]
        tensors = [to_tensors(part, torch.float64, "cpu") for part in parts]
        return np.concatenate([fusion(x.blocks, x.mask).numpy() for x in tensors])

    def _user_vectors(self, histories: Any, items: NDArray) -> NDArray[np.float32]:
        """Users with these histories, a matrix of shape (n_users, n_items)."""
        with torch.no_grad():
            sums = torch.from_numpy(histories @ items.astype(np.float64))
            counts = torch.from_numpy(np.diff(histories.indptr))
            return self.network_.user_vectors(sums, counts).float().numpy()

    def _vectors_of_users(self, rows: NDArray) -> NDArray[np.float32]:
        default = self.network_.default_user.detach().numpy()
        known = self.user_vectors_.to_numpy()[rows]
        return np.where(rows[:, None] >= 0, known, default)

    def _score_users(self, users: NDArray) -> NDArray[np.float32]:
        scores = self._vectors_of_users(users) @ self.item_vectors_.to_numpy().T
        return scores + self.item_biases_.to_numpy()

    def _items_of(self, data: Interactions) -> tuple[NDArray, NDArray]:
        """Vector and bias of each row's item."""
        rows = self.item_index_.get_indexer(data.items)
        if data.content is None:
            self._check_known(data.items, self.item_index_)
            vectors = self.item_vectors_.to_numpy()[rows]
        else:
            content = self.content_space_.transform(data.content)
            vectors = self._item_vectors(rows, content)
        known = self.item_biases_.to_numpy()[rows]
        return vectors, np.where(rows >= 0, known, np.float32(self._cold_bias))

    # -- using -----------------------------------------------------------------------

    def predict(self, X: Any) -> NDArray[np.float32]:
        """Score (user, item) rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            As in `fit`. Users and, in the flat form, items may be new.

        Returns
        -------
        ndarray of shape (n,), float32
            Greater is better; comparable between the items of one user.
        """
        check_is_fitted(self)
        data = self._read(X)
        vectors, biases = self._items_of(data)
        users = self._vectors_of_users(self.user_index_.get_indexer(data.users))
        return score_pairs(users, vectors) + biases

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Fused vectors of items.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            Rows as in `fit`, of whose items the vectors are wanted; or, with a catalog,
            a DataFrame of raw content without item ids, for items not in the catalogue.

        Returns
        -------
        ndarray of shape (n, n_factors), float32
        """
        check_is_fitted(self)
        if not self.flat_ and self._is_content(X):
            return self._content_vectors(X)
        return self._items_of(self._read(X))[0]

    def similar_items(self, items: Any, k: int = 10) -> pd.DataFrame:
        """Items whose vectors point the same way.

        Parameters
        ----------
        items : array-like of shape (n,), or DataFrame
            Item ids; or, with a catalog, rows of raw content: some of its columns are
            enough, so a picture, a sound or words can ask.
        k : int, default=10
            Neighbours per item.

        Returns
        -------
        DataFrame
            Columns ``query`` (item id or index of the row), ``item_id``, ``rank`` (from
            1) and ``score`` (cosine, float32), best first. An item is not its own
            neighbour.

        Raises
        ------
        ValueError
            For an unknown item id, or content without any of the catalogue's columns.
        """
        check_is_fitted(self)
        check_k(k)
        if isinstance(items, pd.DataFrame) or hasattr(items, "to_pandas"):
            items = items.to_pandas() if hasattr(items, "to_pandas") else items
            queries, rows = self._content_vectors(items), np.full(len(items), -1)
            keys = items.index
        else:
            keys = check_ids(np.atleast_1d(items), "items")
            self._check_known(keys, self.item_index_)
            rows = self.item_index_.get_indexer(keys)
            queries = self.item_vectors_.to_numpy()[rows]
        cosines = _unit(queries) @ _unit(self.item_vectors_.to_numpy()).T
        itself = np.flatnonzero(rows >= 0)
        cosines[itself, rows[itself]] = -np.inf
        best = top_k(cosines, k)
        scores = np.take_along_axis(cosines, best, axis=1)
        return ranked_frame("query", keys, self.item_index_, best, scores)

    def _is_content(self, X: Any) -> bool:
        columns = [str(column) for column in getattr(X, "columns", [])]
        return bool(columns) and not any(
            column.rpartition("__")[2] == ITEM for column in columns
        )

    def _content_vectors(self, content: pd.DataFrame) -> NDArray[np.float32]:
        if self.catalog is None:
            raise ValueError(
                "items is raw content, which needs a catalog with an encoder: this "
                "recommender has none (after load, give load(..., catalog=...))"
            )
        blocks = self.content_space_.transform(self.catalog.encode(content))
        return self._item_vectors(np.full(len(blocks), -1), blocks)

    def serving_vectors(self) -> ServingVectors:
        """Vectors whose inner product is the score, for a store to serve.

        Returns
        -------
        ServingVectors
            ``n_factors + 1`` wide: the item's bias is appended to its vector, and a 1
            to the user's.
        """
        check_is_fitted(self)
        ones = np.ones((len(self.user_index_), 1), np.float32)
        users = np.hstack([self.user_vectors_.to_numpy(), ones])
        biases = self.item_biases_.to_numpy()[:, None]
        items = np.hstack([self.item_vectors_.to_numpy(), biases])
        seen = [
            self.item_index_.take(self.seen_.of(user)).tolist()
            for user in range(len(self.user_index_))
        ]
        return ServingVectors(
            pd.DataFrame(users, self.user_index_),
            pd.DataFrame(items, self.item_index_),
            pd.Series(seen, self.user_index_, dtype=object),
            _persistence.fingerprint(self),
            self.history_exponent,
        )

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

    @property
    def _n_features_out(self) -> int:
        return self.n_factors

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


def _unit(vectors: NDArray) -> NDArray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, np.finfo(np.float32).tiny)
