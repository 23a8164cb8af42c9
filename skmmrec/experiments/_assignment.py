"""Assign users to the arms of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skmmrec.interactions import USER, check_ids

_EVEN = {"control": 1.0, "treatment": 1.0}


def assign_arm(
    users: ArrayLike, experiment: str, weights: Mapping[str, float] | None = None
) -> NDArray[Any]:
    """Assign users to the arms of an experiment, by a hash of their ids.

    Nothing is stored: the same experiment and weights give the same arms, in any
    process, on any machine and in any version of this package.

    Parameters
    ----------
    users : array-like of shape (n,)
        User ids.
    experiment : str
        Name of the experiment. Assignments under different names are independent.
    weights : mapping of str to float, default=None
        Maps the name of each arm to its share of the users, relative to the sum of all
        shares. None for ``{"control": 1, "treatment": 1}``.

    Returns
    -------
    ndarray of shape (n,), object
        Name of each user's arm.

    Raises
    ------
    TypeError
        If the weights are no mapping.
    ValueError
        If an id is missing, `experiment` is empty, or the weights are not finite, are
        negative or sum to 0.

    Notes
    -----
    The hash is BLAKE2b (RFC 7693) with 8 bytes of output, of the UTF-8 encoded name of
    the experiment, a zero byte and the UTF-8 encoded id. Its bytes, as a big-endian
    number over 2**64, place the user on the line from 0 to 1, which the arms divide in
    the order of the mapping. So if the first arm grows at the expense of the last, no
    user leaves the first. Numbers are written in decimal, integers without a point: 7,
    7.0 and "7" are the same user.

    References
    ----------
    R. Kohavi, D. Tang and Y. Xu, "Trustworthy Online Controlled Experiments", Cambridge
    University Press, 2020, chapter 4.

    Examples
    --------
    >>> from skmmrec.experiments import assign_arm
    >>> assign_arm(["ann", "bob", "cem"], "gated-fusion").tolist()
    ['control', 'treatment', 'treatment']
    >>> assign_arm([1, 2, 3], "ramp-up", {"new": 0.1, "old": 0.9}).tolist()
    ['old', 'old', 'old']
    """
    shares = _check_weights(weights)
    codes, ids = pd.factorize(check_ids(users, USER))
    bounds = np.cumsum(list(shares.values()))[:-1]
    arms = np.asarray([*shares, None], dtype=object)[:-1]
    places = hash_to_unit([_written(user) for user in ids], experiment)
    return arms[np.searchsorted(bounds, places, side="right")][codes]


def hash_to_unit(texts: list[str], salt: str) -> NDArray[np.float64]:
    """Hash texts to pseudo-random numbers between 0 and 1.

    `salt`, which is not empty, is hashed first. The numbers begin at 0 and stay below
    1.
    """
    if not isinstance(salt, str) or not salt:
        raise ValueError(f"experiment must be a non-empty name, got {salt!r}")
    start = blake2b(salt.encode() + b"\0", digest_size=8)
    digests = bytearray()
    for text in texts:
        hashed = start.copy()
        hashed.update(text.encode())
        digests += hashed.digest()
    # A float64 holds 53 bits exactly; more could be rounded up to 1.
    return (np.frombuffer(bytes(digests), ">u8") >> np.uint64(11)) / 2.0**53


def _written(user: Any) -> str:
    if isinstance(user, float) and user.is_integer():
        return str(int(user))
    return str(user)


def _check_weights(weights: Mapping[str, float] | None) -> dict[str, float]:
    weights = _EVEN if weights is None else weights
    if not isinstance(weights, Mapping):
        raise TypeError(
            "weights must map the names of the arms to numbers, got "
            f"{type(weights).__name__}"
        )
    values = np.asarray(list(weights.values()), dtype=float)
    if not (np.isfinite(values) & (values >= 0)).all() or not values.any():
        raise ValueError(
            f"weights must be finite, not negative and not all 0, got {dict(weights)}"
        )
    # By a power of two, exactly, so that no sum overflows.
    values = np.ldexp(values, -np.frexp(values.max())[1])
    return dict(zip(weights, values / values.sum(), strict=True))
