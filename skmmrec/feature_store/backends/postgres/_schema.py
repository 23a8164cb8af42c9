"""Tables of our own beside Feast's, and counts of what is written to Feast's."""

from __future__ import annotations

from psycopg import Connection

from ._sql import lock, one, regclass, statement

# The last one that `create_tables` makes; all are made in one transaction.
_EXISTS = """
SELECT to_regclass(quote_ident(current_schema()) || '.skmmrec_event_numbers')
    IS NOT NULL
"""
# `views` says, as JSON, in which tables and columns the rows of a publication are.
_CREATE = """
CREATE TABLE {schema}.skmmrec_publications (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project TEXT NOT NULL,
    number BIGINT NOT NULL, state TEXT NOT NULL, content TEXT NOT NULL,
    views TEXT NOT NULL
);
CREATE INDEX ON {schema}.skmmrec_publications (project);
CREATE TABLE {schema}.skmmrec_served (
    project TEXT PRIMARY KEY, publication BIGINT NOT NULL
);
CREATE TABLE {schema}.skmmrec_changes (
    relation REGCLASS PRIMARY KEY, n BIGINT NOT NULL
);
CREATE TABLE {schema}.skmmrec_feedback (
    project TEXT, number BIGINT, user_key BYTEA, item_key BYTEA, y DOUBLE PRECISION,
    event_us BIGINT, pushed BYTEA, PRIMARY KEY (project, number)
);
CREATE UNIQUE INDEX ON {schema}.skmmrec_feedback (project, pushed);
CREATE TABLE {schema}.skmmrec_event_numbers (
    project TEXT PRIMARY KEY, last BIGINT NOT NULL
);
"""
# Runs before the rows are touched, so that all writers of a table queue at its count
# and never hold rows that another waits for. Whoever may write to the table may count.
# Only the first statement of a transaction counts: its own count is `xmin` then.
_FUNCTION = """
CREATE OR REPLACE FUNCTION {schema}.skmmrec_count_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO {schema}.skmmrec_changes AS c VALUES (TG_RELID, 1)
    ON CONFLICT (relation) DO UPDATE SET n = c.n + 1
    WHERE c.xmin::text <> (txid_current() % 4294967296)::text;
    RETURN NULL;
END $$
"""
_HAS_TRIGGER = """
SELECT EXISTS (SELECT 1 FROM pg_trigger
    WHERE tgrelid = to_regclass(%s) AND tgname = 'skmmrec_changes')
"""
_TRIGGER = """
CREATE TRIGGER skmmrec_changes BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {}
FOR EACH STATEMENT EXECUTE PROCEDURE skmmrec_count_change()
"""
_FORGET_COUNTS = """
DELETE FROM skmmrec_changes WHERE relation NOT IN (SELECT oid FROM pg_class)
"""


def tables_exist(conn: Connection) -> bool:
    """Tell whether this schema has our tables."""
    return bool(one(conn, _EXISTS))


def create_tables(conn: Connection) -> None:
    """Make our tables where they are missing."""
    with conn.transaction():
        lock(conn, "skmmrec tables")
        if not tables_exist(conn):
            schema = regclass(str(one(conn, "SELECT current_schema()")))
            for part in (_CREATE, _FUNCTION):
                conn.execute(part.replace("{schema}", schema).encode())


def count_changes(conn: Connection, table: str) -> None:
    """Count the transactions that write to one of Feast's tables, whoever does."""
    if not one(conn, _HAS_TRIGGER, [regclass(table)]):
        conn.execute(statement(_TRIGGER, table))


def forget_counts(conn: Connection) -> None:
    """Forget the counts of tables that are gone."""
    conn.execute(_FORGET_COUNTS)
