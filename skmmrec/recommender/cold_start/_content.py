"""What content says about items that nobody has met."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from skmmrec.catalog import Blocks
from skmmrec.recommender.cold_start._kernels import (
    Directions,
    expected,
    kernels,
    weighed,
)
from skmmrec.recommender.network import Array, namespace, place, row_blocks, to_host
from skmmrec.runtime import progress

_log = logging.getLogger("skmmrec.recommender")

# The kernels of 20,000 items and 2,000 landmarks take some 300 MB and a second or two;
# the leave-one-out errors of 1,000 items, an inverse for each choice of shares, half
# a second (benchmarks/recommender.py cost).
MAX_LANDMARKS, MAX_ITEMS, MAX_TRIED = 2000, 20_000, 1000
# Weights that modalities beside the best may have: few enough for 1,000 items to choose
# among.
SHARES = (0.5, 0.25)
# Penalty, in units of one item of average popularity; chosen with the kernel.
RIDGE = 2.0
# Share of what the network makes of new content. A quarter, a half and three quarters
# were alike on eighteen splits, and 1 to 5 % better than 0 and 1 (the same benchmark).
TRUST = 0.5
# What the predicted popularity is multiplied by, as ridge regression shrinks it. Larger
# factors lose (six splits, the same benchmark).
BIAS_FACTOR = 1.5
# Keeps the system regular where items have the same content; small beside the ridge.
JITTER = 1e-5


@dataclass(frozen=True)
class Expectation:
    """Vectors and biases by kernel ridge regression on the content of known items.

    Half of a new item's vector is what the network makes of its content. The other
    half, and the embedding, are predicted from known items with similar content,
    because the network was trained together with the embeddings of known items and fits
    those too well. The similarity of two items is a sum over the modalities that both
    have: a Gaussian of the distance between their unit vectors, plus a constant for
    having the modality at all. One modality may count more than the others, and not the
    same one for the biases as for the vectors. Which one, and by how much, is chosen by
    how well each item is predicted from all others. Items count by the square root of
    their number of likes. With many items, the regression uses some of them as
    landmarks [1]_.

    Attributes
    ----------
    landmarks : Blocks of m items
        Content that others are compared with.
    coefficients : ndarray of shape (m, dim + n_tasks), float32
        Of the vectors, then of the biases.
    means : ndarray of shape (dim,), float32
        The mean of what is predicted of the vectors.
    shares : ndarray of shape (2, n_modalities), float32
        How much each modality counts, at most 1: for the vectors, and for the biases.

    References
    ----------
    .. [1] A. J. Smola and B. Schölkopf, "Sparse greedy matrix approximation for machine
       learning", ICML 2000.
    """

    landmarks: Blocks
    coefficients: NDArray[np.float32]
    means: NDArray[np.float32]
    shares: NDArray[np.float32]

    @staticmethod
    def sample(items: NDArray) -> NDArray:
        """Return the items to learn from, in random order."""
        return np.random.RandomState(0).permutation(items)[:MAX_ITEMS]

    @classmethod
    def fit(
        cls,
        content: Blocks,
        embeddings: NDArray,
        fused: NDArray,
        biases: NDArray,
        popularity: NDArray,
        where: torch.device | None = None,
    ) -> Self:
        """Learn from known items.

        Parameters
        ----------
        content : Blocks of n items
            In the space of the network; `sample` says of which items, and in which
            order: the first ones become landmarks.
        embeddings, fused : ndarray of shape (n, dim)
            The two parts of their vectors: what was learned of each, and what the
            network makes of its content.
        biases : ndarray of shape (n, n_tasks)
            What was learned of them.
        popularity : ndarray of shape (n,)
            Number of users that each item was learned from; not all 0.
        where : torch.device or None
            Accelerator to compute on; None: NumPy computes, on the host.
        """
        landmarks = content.take(slice(MAX_LANDMARKS))
        weights = np.sqrt(popularity / popularity.sum() * len(popularity))
        answers = [embeddings + (1 - TRUST) * fused, biases]
        means = [weights @ answer / weights.sum() for answer in answers]
        targets = [
            place(answer - mean, where)
            for answer, mean in zip(answers, means, strict=True)
        ]
        weights = place(weights, where)
        some = Directions.of(content.take(slice(MAX_TRIED)), where)
        shares = _choose_shares(
            kernels(some, some), [t[:MAX_TRIED] for t in targets], weights[:MAX_TRIED]
        )
        solved = _solve(content, landmarks, targets, weights, shares, where)
        return cls(
            landmarks,
            np.hstack(solved).astype(np.float32),
            means[0].astype(np.float32),
            np.stack(shares).astype(np.float32),
        )

    def predict(
        self, content: Blocks, fused: NDArray, where: torch.device | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predict vectors and biases of new items, which are compared once for both.

        `fused` is what the network makes of their content, `where` as in `fit`.

        Returns
        -------
        vectors : ndarray of shape (n, dim)
            0 for items without content.
        biases : ndarray of shape (n, n_tasks)
            How far they are expected to be above the mean.
        """
        has_content = np.asarray(content.mask.any(axis=1))[:, None]
        above, biases = self._predict(content, where)
        vectors = TRUST * fused + above + has_content * self.means
        return vectors, BIAS_FACTOR * biases

    def _predict(
        self, content: Blocks, where: torch.device | None
    ) -> list[NDArray[np.float64]]:
        coefficients = [place(part, where) for part in self._by_modality()]
        landmarks = Directions.of(self.landmarks, where)
        predicted = np.zeros((len(content), self.coefficients.shape[1]))
        for rows in row_blocks(len(content), len(self.landmarks), where):
            items = Directions.of(content.take(rows), where)
            predicted[rows] = to_host(expected(items, landmarks, coefficients))
        return np.split(predicted, [len(self.means)], axis=1)

    def _by_modality(self) -> list[NDArray[np.float64]]:
        """Coefficients times what each modality counts for vectors and for biases."""
        widths = len(self.means), self.coefficients.shape[1] - len(self.means)
        counted = np.repeat(self.shares.astype(np.float64), widths, axis=0)
        return [self.coefficients * share for share in counted.T]


def _solve(
    content: Blocks,
    landmarks: Blocks,
    targets: Sequence[Array],
    weights: Array,
    shares: Sequence[NDArray],
    where: torch.device | None,
) -> list[NDArray[np.float64]]:
    """Coefficients of the landmarks for each of the targets: (m, n_targets)."""
    marks = Directions.of(landmarks, where)
    # Targets that weigh the modalities alike are solved by one matrix.
    systems = {tuple(share): share for share in shares}
    near, answers = dict.fromkeys(systems, 0.0), [0.0] * len(targets)
    parts = list(row_blocks(len(content), len(landmarks), where))
    for rows in progress(parts, "learn what content tells of items", unit="part"):
        each = kernels(Directions.of(content.take(rows), where), marks)
        roots = weights[rows, None] ** 0.5
        rooted = {key: roots * weighed(each, share) for key, share in systems.items()}
        for key, kernel in rooted.items():
            near[key] += kernel.T @ kernel
        for number, (target, share) in enumerate(zip(targets, shares, strict=True)):
            kernel = rooted[tuple(share)]
            answers[number] += kernel.T @ (roots * target[rows])
    each = kernels(marks, marks)
    for key, share in systems.items():
        near[key] = _penalised(near[key], weighed(each, share))
    solve = namespace(weights).linalg.solve
    return [
        to_host(solve(near[tuple(share)], answer))
        for share, answer in zip(shares, answers, strict=True)
    ]


def _penalised(near: Array, kernel: Array) -> Array:
    """Add the penalty, and what keeps the solver from items that are the same."""
    near = near + RIDGE * kernel
    diagonal = list(range(len(near)))
    trace = namespace(near).trace(near)
    near[diagonal, diagonal] += JITTER * trace / len(near) + JITTER
    return near


def _choose_shares(
    each: Sequence[Array], targets: Sequence[Array], weights: Array
) -> list[NDArray[np.float64]]:
    """Weigh modalities by the error of predicting each item from all others.

    `each` holds the similarities of the items in each modality. The result has one
    choice for each of the targets.
    """
    n_modalities = len(each)
    tried = [np.ones(n_modalities)]
    if n_modalities > 1:
        tried += [np.where(row, 1.0, s) for row in np.eye(n_modalities) for s in SHARES]
    errors = [
        left_out_errors(weighed(each, shares), targets, weights)
        for shares in progress(tried, "weigh modalities for new items", unit="try")
    ]
    sums = [[float(e) for e in row] for row in errors]
    for shares, error in zip(tried, sums, strict=True):
        _log.debug("modalities counted %s for new items: errors %s", shares, error)
    best = np.argmin(sums, axis=0)
    return [tried[number] for number in best]


def left_out_errors(
    kernel: Array, targets: Sequence[Array], weights: Array
) -> list[Array]:
    """Sum of the squared leave-one-out errors of each of the targets.

    References
    ----------
    G. Golub, M. Heath and G. Wahba, "Generalized cross-validation as a method for
    choosing a good ridge parameter", Technometrics 21(2), 1979 (the closed form).
    """
    xp = namespace(kernel)
    inverse = xp.linalg.inv(kernel + xp.diag(RIDGE / weights + JITTER))
    scale = xp.diag(inverse)[:, None]
    lost = [inverse @ target / scale for target in targets]
    return [weights @ xp.square(part).sum(axis=1) for part in lost]
