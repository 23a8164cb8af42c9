from ._definitions import (
    EmbeddingDefinitions as EmbeddingDefinitions,
    embedding_definitions as embedding_definitions,
)
from ._delete import delete_ids as delete_ids
from ._online import OnlineRecommender as OnlineRecommender
from ._publish import (
    Publication as Publication,
    publish as publish,
)
from ._reader import read_vectors as read_vectors
from ._registry import AtomicFileRegistryStore as AtomicFileRegistryStore
from ._repo import (
    open_store as open_store,
    repo_settings as repo_settings,
)
from ._transformer import FeastFeatures as FeastFeatures
from ._verify import (
    SkewReport as SkewReport,
    verify as verify,
)
from .backends import (
    ExactRedisOnlineStore as ExactRedisOnlineStore,
    ExactRedisOnlineStoreConfig as ExactRedisOnlineStoreConfig,
    ExactSqliteOnlineStore as ExactSqliteOnlineStore,
    ExactSqliteOnlineStoreConfig as ExactSqliteOnlineStoreConfig,
)
