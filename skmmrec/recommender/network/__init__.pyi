from ._algebra import (
    Array as Array,
    accelerator as accelerator,
    as_float64 as as_float64,
    namespace as namespace,
    place as place,
    row_blocks as row_blocks,
    to_host as to_host,
    unit as unit,
)
from ._inference import (
    Content as Content,
    ItemGraph as ItemGraph,
    Neighbours as Neighbours,
    VectorMaker as VectorMaker,
    blend as blend,
    spread_vectors as spread_vectors,
    to_tensors as to_tensors,
)
from ._network import (
    BY_USER as BY_USER,
    FusionNetwork as FusionNetwork,
    Rows as Rows,
    is_by_id as is_by_id,
)
from ._objectives import (
    OBJECTIVES as OBJECTIVES,
    Objective as Objective,
    Task as Task,
    bpr as bpr,
    check_objective as check_objective,
    check_ratings as check_ratings,
    info_nce as info_nce,
    make_tasks as make_tasks,
    predicts_ratings as predicts_ratings,
    sampled_bce as sampled_bce,
    sampled_softmax as sampled_softmax,
    teaches as teaches,
    weighted_squares as weighted_squares,
)
from ._sequence import SequenceTowerModule as SequenceTowerModule
from ._towers import (
    AttentionTowerModule as AttentionTowerModule,
    MeanTowerModule as MeanTowerModule,
    NoTowerModule as NoTowerModule,
    Past as Past,
    TargetFacts as TargetFacts,
    Targets as Targets,
    UserTower as UserTower,
    scale_of_left as scale_of_left,
    sums_without as sums_without,
)
