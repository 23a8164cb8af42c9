from ._history import History as History, InteractionData as InteractionData
from ._reading import (
    Interactions as Interactions,
    OtherColumns as OtherColumns,
    read_answers as read_answers,
    read_interactions as read_interactions,
    read_strengths as read_strengths,
    read_weights as read_weights,
    refuse_columns as refuse_columns,
)
from ._types import (
    Ids as Ids,
    Numbers as Numbers,
    RandomState as RandomState,
    Table as Table,
    ToPandas as ToPandas,
    as_frame as as_frame,
)
