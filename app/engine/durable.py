"""The durable engine: DBOS on SQLite (one process) or Postgres (several replicas).

Owns the workflow library: its configuration, its tables (a database file or schema of their own) and its process-wide
instance. Never knows what a workflow does.

The library carries no truth: a workflow only calls the next look at its run. Its record may lag behind ours after a power cut
(its SQLite runs WAL with synchronous=NORMAL, safe against a killed process) or be lost altogether; then the flow starts
another workflow for the same run. Workflows are started directly under their own id instead of through a polled queue, so an
idle service reacts at once; the lock per target is the store's unique index on live runs.

Only the library's public interface is used.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos import Serializer as DbosSerializer
from dbos import error as dbos_error

from app.domain.errors import BadInput, RemediatorError, StoreUnavailable
from app.engine.context import Json, RunContext, Work, Workflow

log = structlog.get_logger(__name__)

APPLICATION_VERSION = "1"
"""Pinned: raised only when a workflow's order of steps changes so that old runs can no longer be told again."""

_DENIED = "42501"  # Postgres' insufficient privilege

_ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
_KEPT = timedelta(minutes=10)  # an ended workflow, for whoever looks into the library's tables
_PRUNED = 500  # workflows forgotten at a time
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

        self._telling: set[asyncio.Task[None]] = set()

        async def tell(run_id: str) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)
            await workflow(_DbosContext(run_id, speed), run_id)

        self._workflow = DBOS.workflow(name="remediation")(tell)

    async def launch(self) -> None:
        """Migrate the library's tables, resume this replica's unfinished runs, begin work on the running event loop. Raises BadInput
        where the database does not let us, StoreUnavailable where it cannot be asked; the library's own traceback is not logged."""
        own = logging.getLogger("dbos")
        own.addFilter(_not_of_launch)
        try:
            DBOS.launch()
        except sa.exc.DBAPIError as error:
            raise _launch_refused(error) from error
        finally:
            own.removeFilter(_not_of_launch)

    async def prune(self) -> int:
        """Forget workflows of this application that ended a while ago. Raises what the library raises when its database is away."""
        before = (datetime.now(UTC) - _KEPT).isoformat()
        ended = await DBOS.list_workflows_async(
            status=list(_ENDED), completed_before=before, limit=_PRUNED, load_input=False, load_output=False
        )
        if ended:
            await DBOS.delete_workflows_async([workflow.workflow_id for workflow in ended])
        return len(ended)

    async def start(self, workflow: str) -> None:
        """Start the workflow under its own id: a second start of the same id changes nothing. A library that cannot take it
        now is logged; what was not started is overdue soon, and started by the caller's sweep."""

        async def begin() -> None:
            with SetWorkflowID(workflow):
                await DBOS.start_workflow_async(self._workflow, workflow)

        await _from_outside(begin(), "start", workflow)

    async def signal(self, workflow: str, topic: str) -> None:
        """Wake a waiting workflow. One that the engine does not know is not there to be woken: that is no error."""

        async def send() -> None:
            with suppress(dbos_error.DBOSNonExistentWorkflowError):
                await DBOS.send_async(workflow, "go", topic)

        await _from_outside(send(), "signal", workflow)

    async def close(self) -> None:
        """Give up the library's instance without waiting for runs: a cancelled run keeps its record as pending, and the
        next launch under the same name resumes it."""
        telling = list(self._telling)
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=0)
        # The library makes its own thread pool the loop's and shuts it down with itself; the loop goes on.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="after-engine"))
        if self._engine is not None:
            self._engine.dispose()


async def _from_outside(work: Coroutine[Any, Any, None], what: str, workflow: str) -> None:
    """Do it as nobody's step: the library refuses to start a workflow within a step, and takes one that was started within a
    workflow for a part of it."""
    try:
        await asyncio.create_task(work, context=Context())
    except (sa.exc.SQLAlchemyError, dbos_error.DBOSException) as error:
        log.warning("engine_did_not_take_it", what=what, workflow=workflow, error=type(error).__name__)


def _not_of_launch(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("DBOS failed to launch")


def _launch_refused(error: sa.exc.DBAPIError) -> RemediatorError:
    lines = str(error.orig).strip().splitlines()
    reason = f"{type(error.orig).__name__}: {lines[0] if lines else ''}"
    if getattr(error.orig, "sqlstate", None) != _DENIED:
        return StoreUnavailable(f"the tables of the workflow engine could not be opened: {reason}")
    text = (
        f"the role may not make or change the tables of the workflow engine ({reason}): as an administrator, "
    )
    text += 'GRANT CREATE ON DATABASE "DATABASE" TO "ROLE", or let it own the schema dbos; remediator doctor names both'
    return BadInput(text, code="engine_denied", where="REMEDIATOR_DATABASE_URL")


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
