from ._counts import count_before as count_before
from ._estimator import CandidateRanker as CandidateRanker
