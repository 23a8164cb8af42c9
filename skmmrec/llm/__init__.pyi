from ._describer import ItemDescriber as ItemDescriber
from ._generator import LanguageModel as LanguageModel
from ._loading import load_language_model as load_language_model
from ._profiler import UserProfiler as UserProfiler
from ._reranker import LLMReranker as LLMReranker
from ._soft_tokens import SoftTokenFuser as SoftTokenFuser
