"""What follows from the precision of the embeddings' prior."""

from __future__ import annotations

import math

from skmmrec.recommender._choices import Choice
from skmmrec.recommender.training._density import Density
from skmmrec.recommender.training._id_prior import HIGH, LOW

# Rate of hidden modalities where embeddings are free, an older choice. There, hiding
# content makes them learn without it: validation rows of dbbook lose 3 % otherwise
# (benchmarks/README.md).
MOST = 0.2


def choose_modality_dropout(id_l2: float) -> Choice:
    """Choose the rate for ``modality_dropout="auto"``.

    The precision of the embeddings' prior tells how much content speaks for items.
    Where it is low, embeddings may say anything, and hidden content makes them say
    more. Where a trial has found that content should speak, hiding it only loses: the
    rate falls with the logarithm of the precision, without a step, and is 0 at its
    highest.

    The precision was given or learned. The rate is from 0 to `MOST`.
    """
    if id_l2 <= LOW:
        reason = "the prior of embeddings is weak: they learn more if content is hidden"
    else:
        reason = "the stronger the prior of embeddings, the less content is hidden"
    return Choice(MOST * _freedom(id_l2), reason, {"id_l2": id_l2})


def choose_averaging(density: Density, id_l2: float) -> Choice:
    """Choose how far weights are averaged, for ``averaging="auto"``.

    With few interactions and free embeddings, much of what single steps learn is noise,
    which a mean evens out: validation rows of TikTok gain 2 %, and of 60 % of dbbook
    0.5 %. Where content speaks for items, a falling rate comes nearer to the optimum:
    a sparse catalogue of telling content loses 4 % by a mean. With many interactions
    nothing is gained (benchmarks/README.md).

    The strength is from 0 to 1, and changes gradually.
    """
    return Choice(
        (1 - density.level) * _freedom(id_l2),
        "single steps are noisy with few interactions and a weak prior of embeddings",
        {**density.figures, "id_l2": id_l2},
    )


def _freedom(id_l2: float) -> float:
    """From 1, embeddings may say anything, to 0 at the highest precision."""
    bounded = min(max(id_l2, LOW), HIGH)
    return math.log(HIGH / bounded) / math.log(HIGH / LOW)
