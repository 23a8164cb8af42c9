from ._compression import (
    QuantizedVectors as QuantizedVectors,
    ReducedVectors as ReducedVectors,
    quantize_int8 as quantize_int8,
    reduce_dimensions as reduce_dimensions,
)
from ._index import ApproximateIndex as ApproximateIndex
from ._reranking import (
    cap_exposure as cap_exposure,
    cap_groups as cap_groups,
    rerank_mmr as rerank_mmr,
)

# isort: split
# For other rooms: exact search, and similarities of sparse rows.
from ._exact import (
    chunks as chunks,
    ranked_frame as ranked_frame,
    score_pairs as score_pairs,
    tell_recall as tell_recall,
    top_k as top_k,
)
from ._exact_products import bound_lengths as bound_lengths
from ._fresh import (
    check_fresh as check_fresh,
    fresh_places as fresh_places,
    mix_fresh as mix_fresh,
)
from ._index import MANY_ITEMS as MANY_ITEMS, N_QUERIES as N_QUERIES
from ._search import ExactSearch as ExactSearch, Lists as Lists
from ._sparse import (
    Lookup as Lookup,
    best_first as best_first,
    cut_rows as cut_rows,
    entries_at as entries_at,
    entry_rows as entry_rows,
    nearest_rows as nearest_rows,
    squared_lengths as squared_lengths,
    unit_rows as unit_rows,
    without_entries as without_entries,
)
from ._vector_rows import hash_rows as hash_rows
