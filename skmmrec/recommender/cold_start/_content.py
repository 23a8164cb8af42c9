"""What content says about items that nobody has met, and whether it says anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from skmmrec.catalog import Blocks
from skmmrec.interactions import History
from skmmrec.retrieval import chunks, unit_vectors

# The kernels of 20,000 items and 2,000 landmarks take some 300 MB and a second or two;
# the leave-one-out errors of 1,000 items, an inverse for each choice of shares, half
# a second (benchmarks/recommender.py cost).
MAX_LANDMARKS, MAX_ITEMS, MAX_TRIED = 2000, 20_000, 1000
# How little the other modalities may count beside the best: a choice so coarse that
# 1,000 items can make it.
SHARES = (0.5, 0.25)
# Chosen together on rows held out of the training rows of MovieLens and TikTok; near
# them nothing changes by more than the noise (benchmarks/recommender.py cold).
SHARPNESS = 4.0  # of the Gaussian: vectors at a right angle count exp(-4)
PRESENCE = 0.5  # similarity by having the same modality at all, half of the best
RIDGE = 2.0  # penalty, in units of one item of average popularity
# A quarter, a half and three quarters were alike on eighteen splits, and 1 to 5 %
# better than all or nothing of what the network makes of new content (the same).
TRUST = 0.5
# Ridge regression shrinks what it predicts, here the popularity; to count it more than
# this loses (six splits, the same benchmark).
BIAS_FACTOR = 1.5
# Keeps the solver from items that are the same, and is far below what float32 holds.
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
            Number of users that each item was learned from; not all 0.
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
        """Return how far biases are expected to be above the mean: (n, n_tasks)."""
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


# Matrices of 1,000 items take 8 MB each and some 0.1 s; the likes of 20,000 users tell
# their lifts well enough. Fewer than 10 items cannot tell noise from anything.
MAX_LIKED, MAX_USERS, MIN_ITEMS = 1000, 20_000, 10
# With two standard errors, the sound of TikTok was muted on 3 of 15 splits, which cost
# cold items 12 % (benchmarks/recommender.py noise).
N_ERRORS = 3.0
# A modality that says a fifth of what the best one says is worth keeping.
SHARE = 0.2


def find_noise(content: Blocks, history: History) -> list[str]:
    """Name the modalities that say nothing about who likes what.

    In such a modality, similar items are liked together no more often than by chance,
    while similar items of another modality clearly are. In terms of Mantel's test:
    within three standard errors, its correlation may be 0 and is below a fifth of the
    best one. With too little data to tell, no modality is named.

    Parameters
    ----------
    content : Blocks of n items
        In the space of the network.
    history : History
        Values, if any, are above 0 for likes.

    Returns
    -------
    list of str
        In the order of the modalities.
    """
    if len(content.values) < 2:
        return []
    items, lifts = liked_together(history)
    content = content.take(items)
    likeness = kernels(content, content)
    bounds = []
    for matrix, present in zip(likeness, content.mask.T, strict=True):
        both = np.ix_(present, present)
        correlation, error = 0.0, np.inf
        if np.count_nonzero(present) >= MIN_ITEMS:
            correlation, error = mantel(matrix[both], lifts[both])
        bounds.append(correlation + N_ERRORS * error * np.array([-1, 1]))
    low, high = np.array(bounds).T
    best = low.max(initial=0.0)
    return [
        name
        for name, least, most in zip(content.values, low, high, strict=True)
        if least <= 0 and most < SHARE * best
    ]


def liked_together(history: History) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Measure how much more often than by chance the most liked items are co-liked.

    Returns
    -------
    items : ndarray of shape (n,), int64
        Their positions.
    lifts : ndarray of shape (n, n)
        (observed - expected) / sqrt(expected + 1), where these are the numbers of users
        who like both, and who would if only popularity mattered.
    """
    history = history.where(history.liked)
    n_users = len(history.lengths)
    if n_users > MAX_USERS:
        drawn = np.random.RandomState(0).permutation(n_users)[:MAX_USERS]
        history = history.take(np.sort(drawn))
    popularity = history.popularity
    items = np.argsort(-popularity, kind="stable")[:MAX_LIKED]
    items = np.sort(items[popularity[items] > 0])
    likes = history.to_csr()[:, items]
    together = (likes.T @ likes).toarray().astype(np.float64)
    expected = np.outer(popularity[items], popularity[items]) / len(history.lengths)
    return items, (together - expected) / np.sqrt(expected + 1)


def mantel(one: NDArray, other: NDArray) -> tuple[float, float]:
    """Correlation of two symmetric matrices, without their diagonals [1]_.

    Parameters
    ----------
    one, other : ndarray of shape (n, n)
        Of the same items; at least four.

    Returns
    -------
    correlation : float
        From -1 to 1.
    error : float
        Its standard deviation under permutations of the items. Both are 0 if a matrix
        is constant.

    References
    ----------
    .. [1] N. Mantel, "The detection of disease clustering and a generalized regression
       approach", Cancer Research 27(2), 1967.
    """
    n = len(one)
    outside = ~np.eye(n, dtype=bool)
    x, y = (np.where(outside, m - m[outside].mean(), 0.0) for m in (one, other))
    if any(np.ptp(m[outside]) <= 1e-9 * np.abs(m).max() for m in (one, other)):
        return 0.0, 0.0
    squares = np.square(x).sum(), np.square(y).sum()
    rows = np.square(x.sum(axis=1)).sum(), np.square(y.sum(axis=1)).sum()
    pairs = n * (n - 1)
    triples, quadruples = pairs * (n - 2), pairs * (n - 2) * (n - 3)
    same = squares[0] * squares[1]
    linked = (rows[0] - squares[0]) * (rows[1] - squares[1])
    apart = (squares[0] - 2 * rows[0]) * (squares[1] - 2 * rows[1])
    variance = 2 * same / pairs + 4 * linked / triples + 4 * apart / quadruples
    scale = np.sqrt(same)
    return float((x * y).sum() / scale), float(np.sqrt(max(variance, 0.0)) / scale)
