"""Large language models in the loop, on local weights.

Nothing here calls a service: whoever wants one gives a function that does. Names are
resolved when first used: importing this package loads no model library.
"""

from skmmrec._lazy import lazy_names

_NAMES = {
    "SoftTokenFuser": "._soft_tokens",
    "ItemDescriber": "._describer",
    "LLMReranker": "._reranker",
    "LanguageModel": "._generator",
    "UserProfiler": "._profiler",
    "load_language_model": "._loading",
}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
