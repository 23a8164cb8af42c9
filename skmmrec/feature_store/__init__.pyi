from ._definitions import (
    EmbeddingDefinitions as EmbeddingDefinitions,
    embedding_definitions as embedding_definitions,
)
from ._delete import delete_ids as delete_ids
from ._feedback import prune_feedback as prune_feedback
from ._guard import guard_server as guard_server
from ._init_repo import init_repo as init_repo
from ._online import OnlineRecommender as OnlineRecommender
from ._permissions import embedding_permissions as embedding_permissions
from ._provider import CountingProvider as CountingProvider
from ._publications import (
    Publication as Publication,
    publications as publications,
    rollback as rollback,
)
from ._publish import publish as publish
from ._reader import read_vectors as read_vectors
from ._registry import AtomicFileRegistryStore as AtomicFileRegistryStore
from ._repo import (
    open_store as open_store,
    repo_settings as repo_settings,
)
from ._transformer import FeastFeatures as FeastFeatures
from ._verify import (
    Damage as Damage,
    SkewReport as SkewReport,
    StoreReport as StoreReport,
    verify as verify,
)
from .backends import (
    ExactPostgresOnlineStore as ExactPostgresOnlineStore,
    ExactPostgresOnlineStoreConfig as ExactPostgresOnlineStoreConfig,
    ExactRedisOnlineStore as ExactRedisOnlineStore,
    ExactRedisOnlineStoreConfig as ExactRedisOnlineStoreConfig,
    ExactSqliteOnlineStore as ExactSqliteOnlineStore,
    ExactSqliteOnlineStoreConfig as ExactSqliteOnlineStoreConfig,
)
from .backends.base import (
    BusyStoreError as BusyStoreError,
    DamagedStoreError as DamagedStoreError,
    FullStoreError as FullStoreError,
    LostRowsError as LostRowsError,
    ReadOnlyStoreError as ReadOnlyStoreError,
    StoreError as StoreError,
    UnknownIdError as UnknownIdError,
)

# isort: split
# For other rooms: what a page shows of a store, the encoders that a repository names,
# vectors as questions, and types.
from ._browsing import (
    recommend_after as recommend_after,
    stored_history as stored_history,
    stored_ids as stored_ids,
    stored_names as stored_names,
)
from ._naming import encoder_lines as encoder_lines, name_encoders as name_encoders
from ._queries import content_query as content_query
from ._repo import content_encoders as content_encoders
from ._types import (
    Content as Content,
    Contents as Contents,
    Ids as Ids,
    Repo as Repo,
    SingleId as SingleId,
    WantedCategories as WantedCategories,
)
from .backends.base import Filter as Filter
