"""Settings that belong together, as objects whose fields a search can reach."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterable, Sequence
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Literal, ParamSpec

from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions

from skmmrec._sklearn import BaseEstimator
from skmmrec.metrics import parse_metric

Constraints = dict[str, list[Any]]
_POSITIVE = Interval(Real, 0, None, closed="neither")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_FROM_ONE = Interval(Integral, 1, None, closed="left")
_FROM_0_TO_1 = Interval(Real, 0, 1, closed="both")
_SHARE = Interval(Real, 0, 1, closed="left")


class Settings(BaseEstimator):
    """Base of objects that hold parameters of a recommender.

    They have `get_params` and `set_params`, so that ``training__max_epochs`` works in a
    grid, and no `fit`. Their values are checked when the recommender is fitted.
    """

    _parameter_constraints: ClassVar[Constraints] = {}

    def check(self) -> None:
        """Refuse values that no fit could use.

        Raises an InvalidParameterError, which names the parameter.
        """
        self._validate_params()

    def changed(self) -> dict[str, Any]:
        """Return the parameters that differ from their defaults."""
        defaults = inspect.signature(type(self)).parameters
        values = self.get_params(deep=False)
        # By repr, as scikit-learn prints them: arrays do not compare to one truth.
        return {
            name: value
            for name, value in values.items()
            if repr(value) != repr(defaults[name].default)
        }


class Training(Settings):
    """How a network is trained.

    Parameters
    ----------
    max_epochs : int, default=10
        Passes over the interactions.
    batch_size : int or "auto", default="auto"
        Interactions per step. "auto": from 2,048 where items and users have few
        interactions to 512 where they have many, but 30 to 500 batches an epoch.
    learning_rate : float, default=0.01
        Peak step size of Adam. It rises linearly at first, then falls by a cosine.
    averaging : float or "auto", default="auto"
        How far weights are averaged over the last steps instead of lowering the
        learning rate. 0: the rate falls to zero, and the weights of the last step are
        taken. 1: the rate stays as it is, and the mean of the weights over the last
        70 % of the steps is taken. Values between do some of both. "auto": the larger,
        the fewer interactions items and users have and the lower `id_l2` is; 0 where
        nothing is ranked. With ``early_stopping``, which keeps the weights of one
        epoch, it is 0.
    n_negatives : int, default=512
        Number of items that each batch is ranked against. They are drawn by popularity
        ("softmax") or uniformly. If there are no more liked items than that, all of
        them are taken.
    own_negatives : bool, float or "auto", default="auto"
        Whether other items that the user likes may be drawn as negatives; a number is
        the share of these that may. Lists leave out what the user has interacted with,
        so the model need not rank such items low. But with few interactions per item
        and user, results are better if they count as negatives. "auto" goes from all to
        none as these numbers grow.
    task_weights : sequence of float or None, default=None
        Weights of the losses of several tasks. None: the losses are negative
        log-likelihoods, and are added up as they are; for ratings, the variance is
        learned. ``choices_`` has the weights that follow from that.
    clip_norm : float or None, default=None
        Length to which the gradient is clipped.
    max_time : float or None, default=None
        Seconds after which training stops, at the end of a step.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the products in training; "auto" is mixed precision with bfloat16
        on CUDA and float32 elsewhere.
    partial_fit_epochs : int, default=0
        Passes over the new interactions by which `partial_fit` trains the model, at a
        tenth of the learning rate. As many old interactions are mixed in, so that these
        are not forgotten. 0: it takes them in without training.
    checkpoint_dir : str, Path or None, default=None
        Folder that keeps the state of training after each epoch: after a kill, the same
        `fit` goes on from there, to the same result. Without a `random_state`, it goes
        on with the seed of the killed one. Several processes need a folder that all of
        them see.
    tables : {"auto", "replicated", "sharded"}, default="auto"
        Where several processes train one model: whether each holds the embeddings and
        biases of all items and users, or its share of the rows. "auto" splits tables
        of 2**28 numbers, which are 4,194,304 rows of 64 factors. Alone, a process
        holds all, and other values than "auto" are refused.
    cuda_graphs : bool or "auto", default="auto"
        Whether a CUDA device records a training step as a CUDA graph and launches it as
        a whole. The results are those of other steps, up to rounding. "auto": wherever
        it is possible; if not, the log of ``skmmrec`` says why at the level of DEBUG.
        True: at the level of INFO, and on other devices than CUDA `fit` raises a
        ``ValueError``. If a recording fails, the training goes on without, and the log
        has a warning.

    Notes
    -----
    Adam updates the embeddings and biases of items and users as whole tables where they
    are small or a batch touches many of their rows. Where a table has at least 2**20
    numbers (2**25 on CUDA) and eight times as many rows as a batch is expected to
    touch, only these rows are updated, together with all that the steps since their
    last one would have done to them. What is learned is nearly the same, and a step
    then costs no more for more items.

    Of several processes, each works on its part of every batch. Tables that are updated
    as a whole have their gradients averaged by `DistributedDataParallel`. Of others,
    the processes send each other the gradients of the rows that they have read, and of
    split ones these rows, too; then a process holds its share of the rows and of their
    moving means. Each draws negatives of its own. After the fit, each has the whole
    model. If one dies, the others get an error when torch notices: with gloo at once
    where a connection is closed, and after the `timeout` of `init_process_group` where
    a process hangs. ``early_stopping`` by a ranking metric brings the tables together
    after each epoch, ``metric="loss"`` does not.

    A row of 64 factors takes 256 bytes, its bias 4, the two moving means of Adam as
    much again each, and either a gradient of 260 or, row by row, 4 bytes. Two
    modalities of 64 components take 514 bytes an item. So 10,000,000 items take 13 GB
    in all, or 16 GB with whole tables or while ``id_l2="auto"`` trains a copy, and
    early stopping, or what is averaged, 2.6 GB more.

    Examples
    --------
    >>> from skmmrec import MultimodalFusionRecommender
    >>> from skmmrec.recommender import Training
    >>> rec = MultimodalFusionRecommender(training=Training(max_epochs=5))
    >>> rec.set_params(training__learning_rate=0.005).training
    Training(learning_rate=0.005, max_epochs=5)
    """

    _parameter_constraints: ClassVar[Constraints] = {
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), _FROM_ONE],
        "learning_rate": [_POSITIVE],
        "averaging": [_FROM_0_TO_1, StrOptions({"auto"})],
        "n_negatives": [_FROM_ONE],
        "own_negatives": ["boolean", _FROM_0_TO_1, StrOptions({"auto"})],
        "task_weights": ["array-like", None],
        "clip_norm": [_POSITIVE, None],
        "max_time": [_POSITIVE, None],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "partial_fit_epochs": [Interval(Integral, 0, None, closed="left")],
        "checkpoint_dir": [str, Path, None],
        "tables": [StrOptions({"auto", "replicated", "sharded"})],
        "cuda_graphs": ["boolean", StrOptions({"auto"})],
    }

    def __init__(
        self,
        *,
        max_epochs: int = 10,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 0.01,
        averaging: float | Literal["auto"] = "auto",
        n_negatives: int = 512,
        own_negatives: float | Literal["auto"] = "auto",
        task_weights: Sequence[float] | None = None,
        clip_norm: float | None = None,
        max_time: float | None = None,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        partial_fit_epochs: int = 0,
        checkpoint_dir: str | Path | None = None,
        tables: Literal["auto", "replicated", "sharded"] = "auto",
        cuda_graphs: bool | Literal["auto"] = "auto",
    ) -> None:
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.averaging = averaging
        self.n_negatives = n_negatives
        self.own_negatives = own_negatives
        self.task_weights = task_weights
        self.clip_norm = clip_norm
        self.max_time = max_time
        self.precision = precision
        self.partial_fit_epochs = partial_fit_epochs
        self.checkpoint_dir = checkpoint_dir
        self.tables = tables
        self.cuda_graphs = cuda_graphs


class Regularization(Settings):
    """Dropout, penalties and other restraints that keep a network from overfitting.

    Parameters
    ----------
    dropout : float, default=0.3
        Rate of dropout on the user vector in training.
    modality_dropout : float or "auto", default="auto"
        Rate at which training hides a modality of an item. "auto" is 0.2 where `id_l2`
        is 1 or less, and falls with its logarithm to 0 at 30: the more the model relies
        on content, the less of it is hidden.
    id_dropout : float, default=0.0
        Rate at which training hides an item's id embedding, so that the model learns to
        rank items without interactions by their content. 1 is a purely content-based
        model.
    history_dropout : float, default=0.0
        Rate at which training hides a user's whole history, so that the model learns to
        serve new users by the default vector and the content of users.
    l2 : float, default=0.001
        Weight of the squared length of the item vectors in the loss.
    id_l2 : float or "auto", default="auto"
        Precision of a normal prior of the item embeddings, an L2 penalty: half of it
        times their squared length, over the number of interactions, is added to the
        loss. The higher it is, the more the content of an item counts beside its
        interactions. "auto": a trial of two to four epochs leaves some interactions
        out, and tries up to 30. A value above 1 is taken if these interactions become
        clearly more likely, and lowered if they are ranked worse. Otherwise, and with
        fewer than 2,000 interactions or with `max_time`, it is 1.
    alignment : float, default=0.0
        Weight of a contrastive loss between the modalities of an item (InfoNCE).
    modality_balance : float, default=0.0
        Weight of a ranking loss of each modality alone, so that a modality that learns
        fast does not keep the others from learning.
    n_components : int or None, default=64
        Principal components to which wider modalities are reduced; None keeps all. With
        `pretrained` or `warm_start`, a modality that the earlier fit did not reduce is
        not reduced either.
    mute_noise : bool, default=True
        Leave out modalities that have nothing to do with who likes what: items that are
        similar in them are liked together no more often than by chance, by Mantel's
        test, while those similar in another modality are. A modality that helps to
        predict a target, as brands may help with ratings, is kept. With too little data
        for the test, nothing is left out. What `pretrained` or `warm_start` bring is
        not tested.

    Examples
    --------
    >>> from skmmrec import MultimodalFusionRecommender
    >>> from skmmrec.recommender import Regularization
    >>> rec = MultimodalFusionRecommender(regularization=Regularization(dropout=0.1))
    >>> rec.get_params()["regularization__dropout"]
    0.1
    """

    _parameter_constraints: ClassVar[Constraints] = {
        "dropout": [_SHARE],
        "modality_dropout": [_SHARE, StrOptions({"auto"})],
        "id_dropout": [_FROM_0_TO_1],
        "history_dropout": [_SHARE],
        "l2": [_NOT_NEGATIVE],
        "id_l2": [_NOT_NEGATIVE, StrOptions({"auto"})],
        "alignment": [_NOT_NEGATIVE],
        "modality_balance": [_NOT_NEGATIVE],
        "n_components": [_FROM_ONE, None],
        "mute_noise": ["boolean"],
    }

    def __init__(
        self,
        *,
        dropout: float = 0.3,
        modality_dropout: float | Literal["auto"] = "auto",
        id_dropout: float = 0.0,
        history_dropout: float = 0.0,
        l2: float = 1e-3,
        id_l2: float | Literal["auto"] = "auto",
        alignment: float = 0.0,
        modality_balance: float = 0.0,
        n_components: int | None = 64,
        mute_noise: bool = True,
    ) -> None:
        self.dropout = dropout
        self.modality_dropout = modality_dropout
        self.id_dropout = id_dropout
        self.history_dropout = history_dropout
        self.l2 = l2
        self.id_l2 = id_l2
        self.alignment = alignment
        self.modality_balance = modality_balance
        self.n_components = n_components
        self.mute_noise = mute_noise


class EarlyStopping(Settings):
    """Hold out a part of the likes, and stop when they are predicted no better.

    The best epoch is kept. The held-out likes are not trained on, but after the fit
    they are part of the users' histories.

    Parameters
    ----------
    validation_fraction : float, default=0.1
        Share of the likes that is held out; at least one like of each user is not.
    metric : str, default="auto"
        ``"loss"``, or a ranking metric such as ``"ndcg@10"``; its lists have only items
        that somebody likes. "auto": NDCG@10, or the loss if ratings or the probability
        of given rows are predicted.
    n_iter_no_change : int, default=3
        Training stops after so many epochs that are no better than the best.

    Examples
    --------
    >>> from skmmrec import MultimodalFusionRecommender
    >>> from skmmrec.recommender import EarlyStopping
    >>> rec = MultimodalFusionRecommender(early_stopping=EarlyStopping(metric="loss"))
    """

    _parameter_constraints: ClassVar[Constraints] = {
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "metric": [str],
        "n_iter_no_change": [_FROM_ONE],
    }

    def __init__(
        self,
        *,
        validation_fraction: float = 0.1,
        metric: str = "auto",
        n_iter_no_change: int = 3,
    ) -> None:
        self.validation_fraction = validation_fraction
        self.metric = metric
        self.n_iter_no_change = n_iter_no_change

    def check(self) -> None:
        """Refuse an unknown metric, too; see `Settings.check`."""
        super().check()
        if self.metric not in ("auto", "loss"):
            parse_metric(self.metric)


class Propagation(Settings):
    """A graph of similar items, over which their vectors are spread.

    Parameters
    ----------
    share : float, default=0.2
        Share of an item's vector that comes from its neighbours. These are the most
        similar items by interactions, and by each modality.
    n_neighbors : int, default=10
        Number of neighbours by interactions, and by each modality.

    Examples
    --------
    >>> from skmmrec import MultimodalFusionRecommender
    >>> from skmmrec.recommender import Propagation
    >>> rec = MultimodalFusionRecommender(propagation=Propagation(n_neighbors=5))
    """

    _parameter_constraints: ClassVar[Constraints] = {
        "share": [Interval(Real, 0, 1, closed="neither")],
        "n_neighbors": [_FROM_ONE],
    }

    def __init__(self, *, share: float = 0.2, n_neighbors: int = 10) -> None:
        self.share = share
        self.n_neighbors = n_neighbors


SETTINGS: dict[str, type[Settings]] = {
    "training": Training,
    "regularization": Regularization,
    "early_stopping": EarlyStopping,
    "propagation": Propagation,
}
"""Kinds by the name of the parameter that holds them."""


_OF_TOWERS = ("max_history", "history_exponent", "user_embedding")
MOVED: dict[str, str] = {
    **{
        n: f"training=Training({n}=...)" for n in inspect.signature(Training).parameters
    },
    **{
        name: f"regularization=Regularization({name}=...)"
        for name in inspect.signature(Regularization).parameters
    },
    **{name: f"user_tower=MeanTower({name}=...), or another" for name in _OF_TOWERS},
    "validation_fraction": "early_stopping=EarlyStopping(validation_fraction=...)",
    "n_iter_no_change": "early_stopping=EarlyStopping(n_iter_no_change=...)",
    "validation_metric": "early_stopping=EarlyStopping(metric=...)",
    "n_neighbors": "propagation=Propagation(n_neighbors=...)",
    "llm": "fusion=SoftTokenFuser(model), of skmmrec.llm",
    "mode": "ContentRecommender(...) instead of the mode 'content', or "
    "MatrixFactorizationRecommender(...) instead of 'factors'",
}
"""Where parameters of the recommender went that stood beside the others once."""


def refuse_moved(given: Iterable[str], known: Container[str]) -> None:
    """Say where a parameter went.

    A TypeError is for the first of the names `given` that is elsewhere now; `known` are
    parameters that there are.
    """
    for name in given:
        place = MOVED.get(name, "")
        holder = place.partition("=")[0]
        if name not in known and (holder in known or (place and "fusion" in known)):
            raise TypeError(
                f"{name!r} is no parameter of a recommender any more, give {place}"
            )


P = ParamSpec("P")


def tells_moved(init: Callable[P, None]) -> Callable[P, None]:
    """Let an `__init__` say where parameters went that are elsewhere now."""

    @wraps(init)
    def checking(*args: P.args, **params: P.kwargs) -> None:
        refuse_moved(params, inspect.signature(init).parameters)
        init(*args, **params)

    return checking


def checked(value: object, name: str, kind: type[Settings], owner: object) -> None:
    """Refuse a parameter that is neither None nor settings of its kind.

    Raises an InvalidParameterError, which names the parameter.
    """
    if value is None:
        return
    if not isinstance(value, kind):
        raise InvalidParameterError(
            f"The {name!r} parameter of {type(owner).__name__} must be None or of the "
            f"class {kind.__name__}, such as {kind.__name__}(), got {value!r}."
        )
    value.check()
