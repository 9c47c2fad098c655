"""Dagster's own SQLite event log, with its engines and files kept open for as long as the instance lives.

Dagster makes an engine for each statement, and closes the file after it: each event of each partition pays for
compiling its statements again and for a checkpoint of the write-ahead log. A demo writes two events for each of about a
hundred partitions of each asset. The files are the same, so `make ui` reads them with the stock class.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Connection, Engine, NullPool, create_engine, event


class KeptEventLog(SqliteEventLogStorage):
    """One engine and one idle connection per file. What a killed process committed is there; a power cut may lose the
    last events, never damage the file (SQLite, "PRAGMA synchronous": NORMAL with a write-ahead log)."""

    _engines: dict[str, Engine]
    _held: dict[str, sqlite3.Connection]
    _partitions: dict[str, frozenset[str]]

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptEventLog":
        """As Dagster makes a storage from its configuration."""
        return cls(inst_data=inst_data, **config_value)

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._engines, self._held, self._partitions = {}, {}, {}
        super().__init__(base_dir, inst_data)

    def has_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> bool:
        """From memory: metadata for one partition asks this of every partition of its run."""
        if partitions_def_name not in self._partitions:
            self._partitions[partitions_def_name] = frozenset(self.get_dynamic_partitions(partitions_def_name))
        return partition_key in self._partitions[partitions_def_name]

    def add_dynamic_partitions(self, partitions_def_name: str, partition_keys: Sequence[str]) -> None:
        """As Dagster does; what was in memory is read again."""
        super().add_dynamic_partitions(partitions_def_name, partition_keys)
        self._partitions.pop(partitions_def_name, None)

    def delete_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> None:
        """As Dagster does; what was in memory is read again."""
        super().delete_dynamic_partition(partitions_def_name, partition_key)
        self._partitions.pop(partitions_def_name, None)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def dispose(self) -> None:
        """Close the files; the last connection writes the log back into them."""
        for engine in self._engines.values():
            engine.dispose()
        for connection in self._held.values():
            connection.close()
        self._engines, self._held = {}, {}
        super().dispose()

    def _engine(self, shard: str) -> Engine:
        if shard not in self._engines:
            address = self.conn_string_for_shard(shard)
            engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
            self._initdb(engine)
            self._initialized_dbs.add(shard)
            event.listen(engine, "connect", _commit_without_waiting)
            self._engines[shard] = engine
            held = sqlite3.connect(self.path_for_shard(shard), check_same_thread=False)
            held.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the file and its log
            self._held[shard] = held
        return self._engines[shard]


def _commit_without_waiting(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")


def open_kept_instance(home: Path) -> dg.DagsterInstance:
    """The instance of a Dagster home, its event log kept open."""
    storage = {
        "module": KeptEventLog.__module__,
        "class": KeptEventLog.__name__,
        "config": {"base_dir": str(home / "history" / "runs")},
    }
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides={"event_log_storage": storage}))
