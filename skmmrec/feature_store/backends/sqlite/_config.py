"""Settings of the embedded store."""

from __future__ import annotations

from typing import Final, Literal

from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig

from skmmrec.feature_store.backends.base import TextSearch

TYPE: Final = "skmmrec.feature_store.ExactSqliteOnlineStore"


class ExactSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """Settings of `ExactSqliteOnlineStore` in ``feature_store.yaml``.

    Parameters
    ----------
    type : str
        "skmmrec.feature_store.ExactSqliteOnlineStore".
    path : str, default="data/online.db"
        The database file, relative to the repository.
    busy_timeout : float, default=30.0
        Seconds to wait for another writer.
    text_encoder : TextSearch, optional
        Answers searches by a text: its ``model``, and the ``feature`` to compare with.
    """

    type: Literal["skmmrec.feature_store.ExactSqliteOnlineStore"] = TYPE  # type: ignore[assignment]
    path: str = "data/online.db"
    # Other writers hold the file for an event or some rows that Feast writes, well
    # under a second.
    busy_timeout: float = 30.0
    text_encoder: TextSearch | None = None
