from ._batches import Batcher as Batcher
from ._held_likes import most_lists as most_lists
from ._memory_trial import can_remember as can_remember
from ._plan import (
    LEAST_CREDIT as LEAST_CREDIT,
    Epoch as Epoch,
    MemoryWeight as MemoryWeight,
    Plan as Plan,
    Source as Source,
    Trained as Trained,
)
from ._problem import (
    Examples as Examples,
    NetworkDesign as NetworkDesign,
    Problem as Problem,
    forget_unmet as forget_unmet,
    make_examples as make_examples,
    make_network as make_network,
    met_items as met_items,
    weights_and_answers as weights_and_answers,
)
from ._processes import n_processes as n_processes
from ._recency_trial import (
    HALF_LIVES as HALF_LIVES,
    near_best as near_best,
)
from ._training import (
    fit_accelerator as fit_accelerator,
    train_further as train_further,
    train_networks as train_networks,
)
from ._validation import HeldOut as HeldOut, judge_held_out as judge_held_out
