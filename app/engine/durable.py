"""The durable engine: DBOS on SQLite (one process) or Postgres (several replicas).

Owns the workflow library: its configuration, its tables (a database file or schema of their own) and its process-wide
instance. Never knows what a story does.

Two databases: the library's record may lag behind ours after a power cut (its SQLite runs WAL with synchronous=NORMAL,
safe against a killed process), because every step is harmless to repeat and our own store, with synchronous=FULL,
remembers what was done. Runs are started directly under their own id instead of through a polled queue, so an idle
service reacts at once; the lock per target is the store's unique index on live runs.

On Postgres the others take over the runs of a replica that is gone. Should it live after all, both tell the same story for
a moment: the library lets one of them record each step, and a mutation is sent once because it carries its own marker and
is bound to what was read.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos import Serializer as DbosSerializer
from dbos._error import DBOSNonExistentWorkflowError  # the only public way to tell "no such run"

from app.engine.context import Json, RunContext, Work, Workflow
from app.engine.presence import Presence

log = structlog.get_logger(__name__)

APPLICATION_VERSION = "1"
"""Pinned: raised only when a story's order of steps changes so that old runs can no longer be told again."""

_TAKEN = 3
"""Looks without the lock after which another process has our name; right after a kill the dead one may hold it still."""
_TICK = 0.05  # seconds between polls of the library's own listeners


class _JsonSerializer(DbosSerializer):
    """Everything in the library's tables is JSON; nothing is unpickled from a database."""

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=_as_json)

    def deserialize(self, serialized_data: str) -> Any:
        data = json.loads(serialized_data)
        if isinstance(data, dict) and "__error__" in data:
            return RuntimeError(data["__error__"])
        return data

    def name(self) -> str:
        return "remediator_json"


def _as_json(value: Any) -> Any:
    if isinstance(value, BaseException):
        return {"__error__": f"{type(value).__name__}: {value}"}
    raise TypeError(f"a step returned {type(value).__name__}, not JSON")


class _DbosContext(RunContext):
    def __init__(self, run_id: str, speed: float) -> None:
        self.run_id = run_id
        self._speed = speed

    async def step(self, name: str, work: Work) -> Json:
        async def call() -> Json:
            return await work()  # the library asks whether the function is async: a lambda is not

        return await DBOS.run_step_async({"name": name}, call)

    async def sleep(self, seconds: float) -> None:
        await DBOS.sleep_async(seconds / self._speed)

    async def wait_for(self, topic: str, seconds: float) -> bool:
        return await DBOS.recv_async(topic, timeout_seconds=seconds / self._speed) is not None


class DurableEngine:
    """One per process, because the library keeps one instance per process.

    `name` must survive a restart of the same replica (the pod name of a StatefulSet): it is how a restarted process
    finds its own unfinished runs. `speed` > 1 shortens waits, for a service on an accelerated clock (demo).
    """

    def __init__(self, database: str | Path, workflow: Workflow, *, name: str, speed: float = 1.0) -> None:
        self._engine = _sqlite(database) if isinstance(database, Path) else None
        url = f"sqlite:///{database}" if isinstance(database, Path) else _psycopg(database)
        self._presence = None if isinstance(database, Path) else Presence(url, name)
        config: DBOSConfig = {
            "name": "alert-remediator",
            "system_database_url": url,
            "executor_id": name,
            "application_version": APPLICATION_VERSION,
            "run_migrations": True,
            "log_level": "WARNING",
            "enable_otlp": False,
            "serializer": _JsonSerializer(),
            "notification_listener_polling_interval_sec": _TICK,
            "max_executor_threads": 32,
        }
        if self._engine is not None:
            config["system_database_engine"] = self._engine
        logging.getLogger("dbos").setLevel(logging.WARNING)
        DBOS(config=config)

        self._misses = 0
        self._telling: set[asyncio.Task[None]] = set()

        async def tell(run_id: str) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)
            await workflow(_DbosContext(run_id, speed), run_id)

        self._workflow = DBOS.workflow(name="remediation")(tell)

    async def launch(self) -> None:
        """Migrate the library's tables, resume this replica's unfinished runs, begin work on the running event loop."""
        if self._presence is not None:
            await self._present(self._presence)
        DBOS.launch()

    async def _present(self, presence: Presence) -> None:
        self._misses = 0 if await asyncio.to_thread(presence.hold) else self._misses + 1
        if self._misses == _TAKEN:
            log.error("replica_name_taken", text="another process has this replica's name: give each its own")

    async def take_over(self, others: Sequence[str] = ()) -> tuple[str, ...]:
        """Resume what replicas left unfinished whose process is gone; their names, and those of `others` that are gone too.
        None on SQLite, where there is one process.

        Raises StoreUnavailable.
        """
        if self._presence is None:
            return ()
        await self._present(self._presence)
        gone = await asyncio.to_thread(self._presence.gone, others)
        if gone:
            # The library has no public name for it; it puts them into its queue, from which one process takes each.
            await asyncio.to_thread(DBOS._recover_pending_workflows, list(gone))  # noqa: SLF001
        return gone

    async def start(self, run_id: str) -> None:
        """Start the run under its own id: a second start of the same id changes nothing."""

        async def begin() -> None:
            with SetWorkflowID(run_id):
                await DBOS.start_workflow_async(self._workflow, run_id)

        await _from_outside(begin())

    async def signal(self, run_id: str, topic: str) -> None:
        """Wake a waiting run. A run that the engine does not know is not there to be woken: that is no error."""

        async def send() -> None:
            with suppress(DBOSNonExistentWorkflowError):
                await DBOS.send_async(run_id, "go", topic)

        await _from_outside(send())

    async def close(self) -> None:
        """Give up the library's instance without waiting for runs: a cancelled run keeps its record as pending, and the
        next launch under the same name resumes it."""
        telling = list(self._telling)
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=0)
        if self._presence is not None:
            self._presence.close()
        # The library makes its own thread pool the loop's and shuts it down with itself; the loop goes on.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="after-engine"))
        if self._engine is not None:
            self._engine.dispose()


async def _from_outside(work: Coroutine[Any, Any, None]) -> None:
    """Do it as nobody's step: the library refuses to start a run within a step, and takes one that was started within a
    story for a part of it."""
    await asyncio.create_task(work, context=Context())


def _psycopg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _sqlite(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @sa.event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        cursor = cast("Any", connection).cursor()
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine
