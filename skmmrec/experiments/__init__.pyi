from ._assignment import assign_arm as assign_arm
from ._interleaving import (
    InterleavingResult as InterleavingResult,
    compare_interleaved as compare_interleaved,
    team_draft as team_draft,
)
from ._off_policy import (
    OffPolicyEstimate as OffPolicyEstimate,
    off_policy_value as off_policy_value,
    recommendation_policy as recommendation_policy,
)
from ._power import sample_size as sample_size
from ._sequential import (
    SequentialResult as SequentialResult,
    sequential_test as sequential_test,
)
