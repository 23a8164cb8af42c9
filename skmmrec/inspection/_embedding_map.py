"""Plot item or user vectors in two dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from skmmrec.inspection._axes import COLORS, MUTED, get_axes, tidy
from skmmrec.inspection._fonts import as_label, families_for
from skmmrec.interactions import check_by_id
from skmmrec.metrics import find_recommender

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_MARKERS = "os^D"
# Rows that fit beside the map.
_LEGEND_ROWS = 20

# UMAP starts from eigenvectors; so few points do not have enough of them.
_FEW = 4


class EmbeddingMapDisplay:
    """Vectors of items or users, projected to two dimensions.

    It is recommended to use :meth:`from_estimator` to create the display.

    Parameters
    ----------
    points : DataFrame of shape (n, 2)
        Positions, indexed by id.
    groups : Series of length n, default=None
        Group of each point, in the same order.
    method : str, default=None
        Name of the projection, for the axes.

    Attributes
    ----------
    scatters_ : list of matplotlib PathCollection
        One per group.
    ax_ : matplotlib Axes
        Axes with the map.
    figure_ : matplotlib Figure
        Figure containing the map.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.inspection import EmbeddingMapDisplay
    >>> points = pd.DataFrame([[0.0, 1.0], [1.0, 0.0]], index=["a", "b"])
    >>> display = EmbeddingMapDisplay(points=points).plot()
    >>> len(display.scatters_)
    1
    """

    def __init__(
        self,
        *,
        points: pd.DataFrame,
        groups: pd.Series | None = None,
        method: str | None = None,
    ) -> None:
        self.points = points
        self.groups = groups
        self.method = method

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        *,
        kind: str = "items",
        groups: pd.Series | None = None,
        method: str = "pca",
        random_state: int | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> EmbeddingMapDisplay:
        """Project the vectors of a fitted recommender.

        Parameters
        ----------
        estimator : estimator
            A fitted recommender with ``item_vectors_`` and ``user_vectors_``, or a
            Pipeline or a search that ends in one.
        kind : {"items", "users"}, default="items"
            Whether to project the vectors of items or of users.
        groups : Series, default=None
            Group of each id, such as a genre, shown by colour; ids without a group are
            left out.
        method : {"pca", "umap"}, default="pca"
            Principal components, or UMAP of cosine distances, which needs the package
            umap-learn.
        random_state : int or None, default=None
            Seed of UMAP.
        ax : matplotlib Axes, default=None
            Axes to draw on.
        **kwargs : object
            Passed on to matplotlib's ``scatter``.

        Returns
        -------
        display : EmbeddingMapDisplay

        Raises
        ------
        ValueError
            If `kind` or `method` is unknown, or there are too few ids with a group.
        ImportError
            If umap-learn is needed and not installed.
        """
        if kind not in ("items", "users"):
            raise ValueError(f"kind must be 'items' or 'users', got {kind!r}")
        if groups is not None:
            check_by_id(groups, "groups")
        vectors = getattr(find_recommender(estimator), f"{kind[:-1]}_vectors_")
        found = None if groups is None else groups.reindex(vectors.index).dropna()
        if found is not None:
            vectors = vectors.loc[found.index]
        if len(vectors) < 2:
            raise ValueError(f"a map needs at least 2 {kind} that have a group")
        flat = _project(vectors.to_numpy(), method, random_state)
        points = pd.DataFrame(flat, vectors.index)
        return cls(points=points, groups=found, method=method).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> EmbeddingMapDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a figure.
        **kwargs : object
            Passed on to matplotlib's ``scatter``.

        Returns
        -------
        display : EmbeddingMapDisplay
        """
        self.ax_ = get_axes(ax, size=(6.0, 5.2))
        style = {"s": _size(len(self.points)), "alpha": 0.8, "linewidths": 0}
        parts = self._parts()
        self.scatters_ = [
            self.ax_.scatter(
                rows.iloc[:, 0],
                rows.iloc[:, 1],
                label=None if label is None else as_label(label),
                # Where colours repeat, shapes tell groups apart.
                **(style | {"marker": _MARKERS[n // len(COLORS) % 4]} | kwargs),
            )
            for n, (label, rows) in enumerate(parts)
        ]
        labels = {"pca": "Component", "umap": "UMAP"}
        axis = labels.get(str(self.method), "Dimension")
        self.figure_ = tidy(
            self.ax_, "Vectors on a map", xlabel=f"{axis} 1", ylabel=f"{axis} 2"
        )
        self.ax_.set(xticks=[], yticks=[])
        self.ax_.spines[:].set_color(MUTED)
        if self.groups is not None:
            families = families_for("".join(str(label) for label, _ in parts))
            self.ax_.legend(
                frameon=False,
                loc="upper left",
                bbox_to_anchor=(1, 1),
                prop={"family": families},
                ncols=-(-len(parts) // _LEGEND_ROWS),
                scatterpoints=1,
            )
        return self

    def _parts(self) -> list[tuple[str | None, pd.DataFrame]]:
        if self.groups is None:
            return [(None, self.points)]
        grouped = self.points.groupby(self.groups.to_numpy(), observed=True)
        return [(str(label), rows) for label, rows in grouped]


def _size(n_points: int) -> float:
    """Area of a point in square points: larger where there are few."""
    return float(np.clip(20_000 / max(1, n_points), 8, 45))


def _project(vectors: NDArray, method: str, random_state: int | None) -> NDArray:
    if method == "pca":
        n_components = min(2, *vectors.shape)
        pca = PCA(n_components, svd_solver="full").set_output(transform="default")
        flat = pca.fit_transform(vectors)
        return np.pad(flat, ((0, 0), (0, 2 - n_components)))
    if method != "umap":
        raise ValueError(f"method must be 'pca' or 'umap', got {method!r}")
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(
            "method='umap' needs umap-learn: pip install umap-learn"
        ) from error
    if len(vectors) <= _FEW:
        raise ValueError(f"method='umap' needs more than {_FEW} points: use 'pca'")
    projection = UMAP(
        n_neighbors=min(15, len(vectors) - 1),
        metric="cosine",
        random_state=random_state,
        n_jobs=-1 if random_state is None else 1,
    )
    return np.asarray(projection.fit_transform(vectors))
