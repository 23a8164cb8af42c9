"""What an item's content leads to expect of it before anybody has met it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from skmmrec.catalog import Blocks
from skmmrec.recommender._retrieval import chunks, unit_vectors

MAX_LANDMARKS, MAX_ITEMS, MAX_TRIED = 2000, 20_000, 1000
SHARES = (0.5, 0.25)
SHARPNESS = 4.0
PRESENCE = 0.5
RIDGE = 2.0
TRUST = 0.5
BIAS_FACTOR = 1.5
JITTER = 1e-5


@dataclass(frozen=True)
class Expectation:
    """Vectors and biases by kernel ridge regression on the content of known items.

    What the network makes of a new item's content is believed by half. The other half,
    and the embedding that goes with it, are what known items of like content have: a
    map that was learned along with the embeddings of those items fits them too well.
    Two items are as similar as their modalities are: a Gaussian of the distance between
    unit vectors, and a little for having a modality at all, added up over those that
    both have. One modality may count more than the others: which, and how much, is
    chosen by how well items are predicted from the other items. Items count by the
    square root of how many liked them. Among many items the regression is restricted to
    some of them as landmarks [1]_.

    Attributes
    ----------
    landmarks : Blocks of m items
        Content that others are compared with.
    coefficients : ndarray of shape (m, dim + n_tasks), float32
        Of the vectors, then of the biases.
    means : ndarray of shape (dim,), float32
        The mean of what is predicted of the vectors.
    shares : ndarray of shape (n_modalities,), float32
        How much each modality counts, at most 1.

    References
    ----------
    .. [1] A. J. Smola and B. Schölkopf, "Sparse greedy matrix approximation for machine
       learning", ICML 2000.
    """

    landmarks: Blocks
    coefficients: NDArray[np.float32]
    means: NDArray[np.float32]
    shares: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        content: Blocks,
        embeddings: NDArray,
        fused: NDArray,
        biases: NDArray,
        popularity: NDArray,
    ) -> Self:
        """Learn from known items.

        Parameters
        ----------
        content : Blocks of n items
            In the space of the network.
        embeddings, fused : ndarray of shape (n, dim)
            The two parts of their vectors: what was learned of each, and what the
            network makes of its content.
        biases : ndarray of shape (n, n_tasks)
            What was learned of them.
        popularity : ndarray of shape (n,)
            How many users that rests on, not all 0.
        """
        order = np.random.RandomState(0).permutation(len(content))[:MAX_ITEMS]
        content = content.take(order)
        landmarks = content.take(slice(MAX_LANDMARKS))
        weights = np.sqrt(popularity[order] / popularity[order].sum() * len(order))
        vectors, width = embeddings + (1 - TRUST) * fused, fused.shape[1]
        targets = np.hstack([vectors, biases])[order]
        means = weights @ targets / weights.sum()
        targets = targets - means
        some = slice(MAX_TRIED)
        shares = _choose_shares(
            content.take(some),
            [targets[some, :width], targets[some, width:]],
            weights[some],
        )
        near = np.zeros((len(landmarks), len(landmarks)))
        answers = np.zeros((len(landmarks), targets.shape[1]))
        for part in chunks(len(content), len(landmarks)):
            roots = np.sqrt(weights[part])[:, None]
            kernel = roots * _kernel(content.take(part), landmarks, shares)
            near += kernel.T @ kernel
            answers += kernel.T @ (roots * targets[part])
        near += RIDGE * _kernel(landmarks, landmarks, shares)
        near[np.diag_indices(len(near))] += JITTER * np.trace(near) / len(near) + JITTER
        coefficients = np.linalg.solve(near, answers)
        return cls(
            landmarks,
            coefficients.astype(np.float32),
            means[:width].astype(np.float32),
            shares.astype(np.float32),
        )

    def vectors(self, content: Blocks, fused: NDArray) -> NDArray[np.float64]:
        """Return the vectors of new items: (n, dim), 0 for those without content.

        `fused` is what the network makes of their content.
        """
        has_content = content.mask.any(axis=1)[:, None]
        expected = self._predict(content, slice(len(self.means)))
        return TRUST * fused + expected + has_content * self.means

    def biases(self, content: Blocks) -> NDArray[np.float64]:
        """Return how far biases are expected above those of the mean: (n, n_tasks)."""
        return BIAS_FACTOR * self._predict(content, slice(len(self.means), None))

    def _predict(self, content: Blocks, columns: slice) -> NDArray[np.float64]:
        coefficients = self.coefficients[:, columns].astype(np.float64)
        parts = [
            _kernel(content.take(part), self.landmarks, self.shares) @ coefficients
            for part in chunks(len(content), len(self.landmarks))
        ]
        return np.concatenate([np.zeros((0, coefficients.shape[1])), *parts])


def _choose_shares(
    content: Blocks, groups: list[NDArray], weights: NDArray
) -> NDArray[np.float64]:
    """Weigh modalities by the error of predicting each item from all others."""
    each = kernels(content, content)
    n_modalities = len(each)
    tried = [np.ones(n_modalities)]
    if n_modalities > 1:
        tried += [np.where(row, 1.0, s) for row in np.eye(n_modalities) for s in SHARES]
    errors = [
        _left_out_error(np.tensordot(shares, each, 1), groups, weights)
        for shares in tried
    ]
    return tried[int(np.argmin(errors))]


def _left_out_error(
    kernel: NDArray[np.float64], groups: list[NDArray], weights: NDArray
) -> float:
    """Sum over groups of targets the leave-one-out error, 1 where it is their variance.

    References
    ----------
    G. Golub, M. Heath and G. Wahba, "Generalized cross-validation as a method for
    choosing a good ridge parameter", Technometrics 21(2), 1979 (the closed form).
    """
    inverse = np.linalg.inv(kernel + np.diag(RIDGE / weights + JITTER))
    error = 0.0
    for targets in groups:
        lost = inverse @ targets / np.diag(inverse)[:, None]
        variance = weights @ np.square(targets).sum(axis=1)
        error += weights @ np.square(lost).sum(axis=1) / max(variance, 1e-30)
    return float(error)


def _kernel(content: Blocks, landmarks: Blocks, shares: NDArray) -> NDArray[np.float64]:
    """Similarities of n items to m others: (n, m), float64."""
    return np.tensordot(shares.astype(np.float64), kernels(content, landmarks), 1)


def kernels(content: Blocks, landmarks: Blocks) -> NDArray[np.float64]:
    """Similarities in each modality: (n_modalities, n, m), 0 where one lacks it."""
    similarities = np.zeros((len(content.values), len(content), len(landmarks)))
    for number, (name, block) in enumerate(content.values.items()):
        ours = unit_vectors(block.astype(np.float64))
        theirs = unit_vectors(landmarks.values[name].astype(np.float64))
        near = np.exp(SHARPNESS * (ours @ theirs.T - 1)) + PRESENCE
        near *= content.mask[:, number, None]
        near *= landmarks.mask[:, number]
        similarities[number] = near
    return similarities
