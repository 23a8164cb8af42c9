from ._beyond import (
    catalog_coverage as catalog_coverage,
    gini_exposure as gini_exposure,
    intra_list_diversity as intra_list_diversity,
    novelty as novelty,
    popularity_bias as popularity_bias,
)
from ._evaluation import (
    RankingEvaluation as RankingEvaluation,
    compare as compare,
    evaluate_ranking as evaluate_ranking,
)
from ._exposure import group_exposure as group_exposure
from ._groups import GroupScores as GroupScores
from ._ranking import (
    auc_at_k as auc_at_k,
    average_precision_at_k as average_precision_at_k,
    f1_at_k as f1_at_k,
    graded_ndcg_at_k as graded_ndcg_at_k,
    hit_rate_at_k as hit_rate_at_k,
    ndcg_at_k as ndcg_at_k,
    precision_at_k as precision_at_k,
    recall_at_k as recall_at_k,
    reciprocal_rank_at_k as reciprocal_rank_at_k,
)
from ._relevance import (
    RankedRelevance as RankedRelevance,
    ranked_relevance as ranked_relevance,
    relevance_from_scores as relevance_from_scores,
)
from ._scorers import (
    RankingScorer as RankingScorer,
    get_scorer as get_scorer,
    get_scorer_names as get_scorer_names,
    make_ranking_scorer as make_ranking_scorer,
)

# isort: split
# For other rooms: parts of metrics, and what reads a recommender and its feedback.
from ._beyond import count_exposure as count_exposure, gini as gini
from ._formulas import judge as judge
from ._hits import find_hits as find_hits
from ._names import parse_metric as parse_metric
from ._ranking_all import recommend_exactly as recommend_exactly
from ._relevance import rank_lists as rank_lists
from ._scorers import (
    count_tasks as count_tasks,
    find_keys as find_keys,
    find_recommender as find_recommender,
    is_graded as is_graded,
    keep_relevant as keep_relevant,
    read_pairs as read_pairs,
    with_new_items as with_new_items,
)
from ._seen import warn_of_seen as warn_of_seen
from ._statistics import (
    bootstrap_interval as bootstrap_interval,
    simultaneous_interval as simultaneous_interval,
)
