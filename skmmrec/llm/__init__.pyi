from ._describer import ItemDescriber as ItemDescriber
from ._generator import LanguageModel as LanguageModel
from ._loading import Loaded as Loaded, load_language_model as load_language_model
from ._profiler import UserProfiler as UserProfiler
from ._reranker import LLMReranker as LLMReranker
from ._soft_tokens import SoftTokenFuser as SoftTokenFuser

# isort: split
# For other rooms: what fuses by a language model, and what tells reasons in words.
from ._adapters import CoLikes as CoLikes
from ._fields import as_lines as as_lines
from ._fuser_records import (
    read_fuser as read_fuser,
    write_fuser as write_fuser,
    write_fuser_weights as write_fuser_weights,
)
from ._prompts import read_prompt as read_prompt
from ._reading import read_text as read_text
from ._safety import fence as fence
from ._services import Llm as Llm, as_writer as as_writer
from ._writing import Task as Task, write_texts as write_texts
