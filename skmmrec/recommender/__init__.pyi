from ._baselines import (
    HistoryRecommender as HistoryRecommender,
    PopularityRecommender as PopularityRecommender,
)
from ._compression import (
    quantize_int8 as quantize_int8,
    reduce_dimensions as reduce_dimensions,
)
from ._estimator import MultimodalFusionRecommender as MultimodalFusionRecommender
from ._factorization import ImplicitALSRecommender as ImplicitALSRecommender
from ._html import describe_html as describe_html
from ._index import ApproximateIndex as ApproximateIndex
from ._linear import EASERecommender as EASERecommender
from ._neighbors import (
    ItemKNNRecommender as ItemKNNRecommender,
    UserKNNRecommender as UserKNNRecommender,
)
from ._reranking import (
    cap_exposure as cap_exposure,
    rerank_mmr as rerank_mmr,
)
from ._serving import ServingVectors as ServingVectors
from ._walks import (
    GraphDiffusionRecommender as GraphDiffusionRecommender,
    RandomWalkRecommender as RandomWalkRecommender,
)
