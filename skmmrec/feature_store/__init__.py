"""Publish fused vectors to a Feast store and recommend from that store alone.

Feast is imported when one of these names is first used, not before.
"""

from skmmrec._lazy import lazy_names

_NAMES = {
    "AtomicFileRegistryStore": "._registry",
    "EmbeddingDefinitions": "._definitions",
    "ExactSqliteOnlineStore": "._sqlite",
    "ExactSqliteOnlineStoreConfig": "._sqlite",
    "FeastFeatures": "._transformer",
    "OnlineRecommender": "._online",
    "Publication": "._publish",
    "SkewReport": "._verify",
    "delete_ids": "._delete",
    "embedding_definitions": "._definitions",
    "open_store": "._repo",
    "publish": "._publish",
    "read_vectors": "._reader",
    "repo_settings": "._repo",
    "verify": "._verify",
}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
