from ._adapters import CoLikes as CoLikes
from ._describer import ItemDescriber as ItemDescriber
from ._fuser_records import (
    fuser_settings as fuser_settings,
    read_fuser as read_fuser,
    write_fuser as write_fuser,
)
from ._generator import LanguageModel as LanguageModel
from ._loading import load_language_model as load_language_model
from ._profiler import UserProfiler as UserProfiler
from ._reranker import LLMReranker as LLMReranker
from ._soft_tokens import SoftTokenFuser as SoftTokenFuser
