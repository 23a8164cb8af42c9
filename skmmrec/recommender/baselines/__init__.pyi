from ._als import ImplicitALSRecommender as ImplicitALSRecommender
from ._content import ContentRecommender as ContentRecommender
from ._history import (
    HistoryRecommender as HistoryRecommender,
    PopularityRecommender as PopularityRecommender,
)
from ._linear import EASERecommender as EASERecommender
from ._loading import load_model as load_model, load_shared as load_shared
from ._matrix_factorization import (
    MatrixFactorizationRecommender as MatrixFactorizationRecommender,
)
from ._neighbors import (
    ItemKNNRecommender as ItemKNNRecommender,
    UserKNNRecommender as UserKNNRecommender,
)
from ._walks import (
    GraphDiffusionRecommender as GraphDiffusionRecommender,
    RandomWalkRecommender as RandomWalkRecommender,
)
