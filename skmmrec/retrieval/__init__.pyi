from ._compression import (
    quantize_int8 as quantize_int8,
    reduce_dimensions as reduce_dimensions,
)
from ._exact import (
    chunks as chunks,
    ranked_frame as ranked_frame,
    score_pairs as score_pairs,
    top_k as top_k,
    unit_vectors as unit_vectors,
)
from ._index import ApproximateIndex as ApproximateIndex
from ._reranking import cap_exposure as cap_exposure, rerank_mmr as rerank_mmr
from ._sparse import (
    keep_largest as keep_largest,
    nearest_rows as nearest_rows,
    unit_rows as unit_rows,
)
