"""How often training hides a modality of an item."""

from __future__ import annotations

import math

from skmmrec.recommender._choices import Choice
from skmmrec.recommender.training._id_prior import HIGH, LOW

# The rate where embeddings are free, an older choice. There, hiding content makes them
# learn without it: validation rows of dbbook lose 3 % otherwise (benchmarks/README.md).
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
        reason = "embeddings are free, and learn more where content is hidden at times"
        return Choice(MOST, reason, {"id_l2": id_l2})
    share = math.log(HIGH / min(id_l2, HIGH)) / math.log(HIGH / LOW)
    reason = "the more content speaks for items, the less of it is hidden"
    return Choice(MOST * share, reason, {"id_l2": id_l2})
