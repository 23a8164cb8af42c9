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
    both have. One modality may count more than the others, and another one for the
    biases than for the vectors: which, and how much, is chosen by how well items are
    predicted from the other items. Items count by the square root of how many liked
    them. Among many items the regression is restricted to some of them as landmarks
    [1]_.

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
        some = content.take(slice(MAX_TRIED))
        each = kernels(some, some)
        parts = []
        for targets in (embeddings + (1 - TRUST) * fused, biases):
            targets = targets[order]
            mean = weights @ targets / weights.sum()
            targets = targets - mean
            shares = _choose_shares(each, targets[:MAX_TRIED], weights[:MAX_TRIED])
            solved = _solve(content, landmarks, targets, weights, shares)
            parts.append((mean, shares, solved))
        means, chosen, coefficients = zip(*parts, strict=True)
        return cls(
            landmarks,
            np.hstack(coefficients).astype(np.float32),
            means[0].astype(np.float32),
            np.stack(chosen).astype(np.float32),
        )

    def vectors(self, content: Blocks, fused: NDArray) -> NDArray[np.float64]:
        """Return the vectors of new items: (n, dim), 0 for those without content.

        `fused` is what the network makes of their content.
        """
        has_content = np.asarray(content.mask.any(axis=1))[:, None]
        expected = self._predict(content, 0)
        return TRUST * fused + expected + has_content * self.means

    def biases(self, content: Blocks) -> NDArray[np.float64]:
        """Return how far biases are expected above those of the mean: (n, n_tasks)."""
        return BIAS_FACTOR * self._predict(content, 1)

    def _predict(self, content: Blocks, part: int) -> NDArray[np.float64]:
        """Predict the vectors (part 0) or the biases (part 1)."""
        split = np.split(self.coefficients, [len(self.means)], axis=1)
        coefficients, shares = split[part].astype(np.float64), self.shares[part]
        predicted = np.zeros((len(content), coefficients.shape[1]))
        for rows in chunks(len(content), len(self.landmarks)):
            near = _kernel(content.take(rows), self.landmarks, shares)
            predicted[rows] = near @ coefficients
        return predicted


def _solve(
    content: Blocks,
    landmarks: Blocks,
    targets: NDArray,
    weights: NDArray,
    shares: NDArray,
) -> NDArray[np.floating]:
    """Coefficients of the landmarks, of shape (m, n_targets)."""
    near = np.zeros((len(landmarks), len(landmarks)))
    answers = np.zeros((len(landmarks), targets.shape[1]))
    for part in chunks(len(content), len(landmarks)):
        roots = np.sqrt(weights[part])[:, None]
        kernel = roots * _kernel(content.take(part), landmarks, shares)
        near += kernel.T @ kernel
        answers += kernel.T @ (roots * targets[part])
    near += RIDGE * _kernel(landmarks, landmarks, shares)
    near[np.diag_indices(len(near))] += JITTER * np.trace(near) / len(near) + JITTER
    return np.linalg.solve(near, answers)


def _choose_shares(
    each: NDArray, targets: NDArray, weights: NDArray
) -> NDArray[np.float64]:
    """Weigh modalities by the error of predicting each item from all others.

    `each` holds the similarities of the items in each modality.
    """
    n_modalities = len(each)
    tried = [np.ones(n_modalities)]
    if n_modalities > 1:
        tried += [np.where(row, 1.0, s) for row in np.eye(n_modalities) for s in SHARES]
    errors = [
        _left_out_error(np.tensordot(shares, each, 1), targets, weights)
        for shares in tried
    ]
    return tried[int(np.argmin(errors))]


def _left_out_error(
    kernel: NDArray[np.float64], targets: NDArray, weights: NDArray
) -> float:
    """Sum of the squared leave-one-out errors.

    References
    ----------
    G. Golub, M. Heath and G. Wahba, "Generalized cross-validation as a method for
    choosing a good ridge parameter", Technometrics 21(2), 1979 (the closed form).
    """
    inverse = np.linalg.inv(kernel + np.diag(RIDGE / weights + JITTER))
    lost = inverse @ targets / np.diag(inverse)[:, None]
    return float(weights @ np.square(lost).sum(axis=1))


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
