"""Database connections: what is ended, what is only told, and what nobody could look at."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from app.domain.database import Replication, Slot, Standby
from app.domain.evidence import Certainty, Diagnosis
from app.domain.plan import ActionKind, Step
from app.domain.target import Kind
from app.sim.databases import DatabaseClients
from app.sim.faults import Fault, FaultKind
from app.sim.scenario import Scenario
from remediations import CATALOGUE
from remediations.database_connections import (
    BY_HAND,
    END_BLOCKER,
    END_IDLE,
    RESTART_CLIENT,
    RESTART_SERVER,
    DatabaseConnectionsParams,
)
from remediations.evidence.database_pods import DISK
from remediations.evidence.databases import REPLICATION
from tests.births import scenario_of
from tests.crash.worlds import exhausted, leaking
from tests.unit.remediations.stage import Stage

IDLE = {"application": "ingest", "state": "idle in transaction"}


def world(*clients: DatabaseClients, **of_server: Any) -> Scenario:
    """The shipped scenario with these clients."""
    base = scenario_of("database-connections")
    (server,) = base.databases
    changes = {**of_server, **({"clients": clients} if clients else {})}
    return base.model_copy(update={"databases": (server.model_copy(update=changes),), "alerts": ()})


async def look(scenario: Scenario | None = None, **params: Any) -> tuple[Diagnosis, Mapping[str, Step]]:
    return await Stage("database-connections", scenario).look(service="postgres", **params)


def applying(steps: Mapping[str, Step]) -> list[str]:
    return [name for name, step in steps.items() if step.applies]


def pids(step: Step) -> list[int]:
    sessions: Any = step.actions[0].part["sessions"]
    return [pid for pid, _ in sessions]


async def test_the_oldest_are_ended_first_and_no_more_than_allowed() -> None:
    _, steps = await look(most=4)
    assert applying(steps) == [END_IDLE]
    assert pids(steps[END_IDLE]) == [1001, 1002, 1003, 1004]
    _, steps = await look(
        world(
            DatabaseClients(**IDLE, since=700.0, count=10), DatabaseClients(**IDLE, since=4_000.0, count=10)
        )
    )
    assert pids(steps[END_IDLE]) == list(range(1011, 1021))
    assert steps[END_IDLE].open_task
    assert steps[END_IDLE].pods_affected == 0


async def test_where_connections_are_not_short_nobody_is_ended_who_holds_nobody_up() -> None:
    _, steps = await look(world(DatabaseClients(**IDLE, since=4_000.0, count=3)))
    assert applying(steps) == []
    assert "Connections are not short" in steps[END_IDLE].why


async def test_an_idle_transaction_that_holds_others_up_is_ended_although_connections_are_not_short() -> None:
    waits = DatabaseClients(application="api", state="active", since=200.0, waits_for="ingest")
    _, steps = await look(world(DatabaseClients(**IDLE, since=4_000.0, count=2), waits))
    assert applying(steps) == [END_IDLE]
    assert pids(steps[END_IDLE]) == [1001]
    assert "hold others up" in steps[END_IDLE].why


@pytest.mark.parametrize(("waited", "applies"), [(299.0, []), (301.0, [END_BLOCKER])])
async def test_a_blocker_is_ended_once_others_have_waited_for_it_long_enough(
    waited: float, applies: list[str]
) -> None:
    holder = DatabaseClients(
        application="migration", state="active", since=9_000.0, query="ALTER TABLE a ADD b int"
    )
    waits = DatabaseClients(
        application="api", state="active", since=waited - 60, count=2, waits_for="migration"
    )
    diagnosis, steps = await look(world(holder, waits))
    assert applying(steps) == applies
    locks = diagnosis.finding("database.locks")
    assert locks is not None
    assert "migration" in locks.text
    assert "blocks 2 sessions" in locks.text


@pytest.mark.parametrize("others", [(), ("payments-2",)])
async def test_a_prepared_transaction_that_blocks_everybody_is_named_with_the_command_that_ends_it(
    others: tuple[str, ...],
) -> None:
    waits = DatabaseClients(application="api", state="active", since=500.0, count=2, waits_for="o'rder-7")
    base = world(waits)
    servers = tuple(s.model_copy(update={"prepared": ("o'rder-7", *others)}) for s in base.databases)
    diagnosis, steps = await look(base.model_copy(update={"databases": servers}))
    locks = diagnosis.finding("database.locks")
    assert (applying(steps), locks is not None) == ([], True)
    assert locks is not None
    for words in (
        "prepared transaction 'o''rder-7' of ",
        "blocks 2 sessions, the longest for ",
        "ends it with ROLLBACK PREPARED 'o''rder-7', or COMMIT PREPARED",
    ):
        assert words in locks.text, locks.text
        assert words in steps[END_BLOCKER].why
    assert ("One of 2 prepared transactions" in locks.text) is bool(others)


async def test_a_blocker_that_is_never_ended_is_named_to_a_person() -> None:
    holder = DatabaseClients(application="vacuum", state="active", since=9_000.0, role="superuser")
    waits = DatabaseClients(application="api", state="active", since=900.0, waits_for="vacuum")
    _, steps = await look(world(holder, waits))
    assert applying(steps) == []
    assert "superuser" in steps[END_BLOCKER].why


async def test_who_leaks_connections_is_named() -> None:
    _, steps = await look(world(DatabaseClients(application="langgraph-ingest", count=20)))
    assert applying(steps) == []
    assert "langgraph-ingest (langgraph) has 20 of the 20 connections (100 %)" in steps[BY_HAND].advice


async def test_sessions_of_another_database_are_counted_and_left_alone() -> None:
    diagnosis, steps = await look(world(DatabaseClients(**IDLE, since=4_000.0, count=20, database="other")))
    assert applying(steps) == []
    connection = diagnosis.finding("database.connection")
    assert connection is not None
    assert connection.data["used"] == 20


async def test_a_wrong_password_is_unknown_and_nothing_is_ended() -> None:
    diagnosis, steps = await look(world(password="another"))
    connection = diagnosis.finding("database.connection")
    assert connection is not None
    assert (connection.certainty, connection.data["code"]) == (Certainty.UNKNOWN, "login_refused")
    assert applying(steps) == []
    assert "says nothing of it" in steps[BY_HAND].why


async def test_a_connection_that_fails_is_unknown_and_not_down() -> None:
    stage = Stage("database-connections")
    stage.cluster.faults.add(Fault(FaultKind.UNREACHABLE, verb="sql"))
    diagnosis, steps = await stage.look(service="postgres")
    connection = diagnosis.finding("database.connection")
    assert connection is not None
    assert connection.certainty is Certainty.UNKNOWN
    assert applying(steps) == []


async def test_no_free_connection_is_the_servers_own_word() -> None:
    diagnosis, steps = await look(world(DatabaseClients(application="leak", count=22)))
    connection = diagnosis.finding("database.connection")
    assert connection is not None
    assert (connection.certainty, connection.data["crowded"]) == (Certainty.KNOWN, True)
    assert "pg_use_reserved_connections" in steps[BY_HAND].advice


async def test_without_the_right_to_end_them_the_grant_is_named() -> None:
    leak = DatabaseClients(**IDLE, user="ingest", since=4_000.0, count=20)
    _, steps = await look(world(leak, may_end=False))
    assert applying(steps) == []
    assert "pg_signal_backend" in steps[END_IDLE].advice


def test_only_the_rule_says_where_and_with_which_login() -> None:
    handler: Any = CATALOGUE["database-connections"]
    place = set(DatabaseConnectionsParams.model_fields) - {
        "idle_in_transaction",
        "most",
        "lock",
        "crowded",
        "client_share",
        "full",
        "logs",
    }
    assert handler.fixed_params == place


@pytest.mark.parametrize("host", ["/var/run/postgresql", "a b", "db?sslmode=disable", "user:pw@db"])
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    with pytest.raises(ValueError, match="host"):
        DatabaseConnectionsParams(host=host)


def client_of(steps: Mapping[str, Step]) -> Step:
    return steps[RESTART_CLIENT]


async def test_the_client_that_leaks_is_restarted_where_the_run_is_about_it_and_only_after_a_question() -> (
    None
):
    stage = Stage("database-connections", leaking(), target="rag7/Deployment/langgraph-ingest")
    _, steps = await stage.look(service="postgres")
    assert applying(steps) == [RESTART_CLIENT]
    assert steps[RESTART_CLIENT].asks
    assert str(steps[RESTART_CLIENT].actions[0].object) == "rag7/Deployment/langgraph-ingest"


async def test_what_changed_of_the_client_lately_is_told_as_a_restart_does_not_take_it_back() -> None:
    stage = Stage("database-connections", leaking(), target="rag7/Deployment/langgraph-ingest")
    stage.clock.advance(7200)
    more = {"op": "replace", "path": "/spec/replicas", "value": 8}
    stage.edit(Kind.DEPLOYMENT, "langgraph-ingest", more)
    stage.clock.advance(360)
    _, steps = await stage.look(service="postgres")
    assert "what changed 6 min ago: replicas of langgraph-ingest set to 8" in steps[RESTART_CLIENT].asks


async def test_a_client_that_the_run_is_not_about_is_named_with_the_order() -> None:
    _, steps = await look(leaking())
    assert applying(steps) == []
    assert "--target rag7/Deployment/langgraph-ingest" in client_of(steps).advice


async def test_no_client_is_restarted_that_has_less_than_its_share() -> None:
    stage = Stage("database-connections", leaking(), target="rag7/Deployment/langgraph-ingest")
    (server,) = leaking().databases
    others = tuple(DatabaseClients(application=f"other-{n}", count=4) for n in range(3))
    few = server.model_copy(update={"clients": (server.clients[0].model_copy(update={"count": 7}), *others)})
    world_of_few = leaking().model_copy(update={"databases": (few,)})
    stage = Stage("database-connections", world_of_few, target="rag7/Deployment/langgraph-ingest")
    _, steps = await stage.look(service="postgres")
    assert applying(steps) == []
    assert "No client has 50 %" in client_of(steps).why


async def test_a_server_without_a_free_connection_is_restarted_only_after_a_question() -> None:
    _, steps = await look(exhausted())
    assert applying(steps) == [RESTART_SERVER]
    assert steps[RESTART_SERVER].asks
    (action,) = steps[RESTART_SERVER].actions
    assert (action.kind, action.object.name) == (ActionKind.DELETE_POD, "postgres-0")


async def test_a_server_that_is_not_the_target_is_not_restarted() -> None:
    stage = Stage("database-connections", exhausted(), target="rag7/Deployment/redis")
    _, steps = await stage.look(service="postgres")
    assert applying(steps) == []
    assert "the Service postgres does not choose its pods" in steps[RESTART_SERVER].why
    _, steps = await Stage("database-connections", exhausted()).look()
    assert "name no service" in steps[RESTART_SERVER].why


@pytest.mark.parametrize(
    ("labels", "operator"),
    [
        ({"cnpg.io/cluster": "main"}, "Cluster main (CloudNativePG)"),
        ({"application": "spilo", "cluster-name": "main"}, "postgresql main (Zalando Postgres operator)"),
        (
            {"postgres-operator.crunchydata.com/cluster": "main"},
            "PostgresCluster main (Crunchy Postgres operator)",
        ),
    ],
)
async def test_a_server_that_an_operator_manages_is_named_and_not_restarted(
    labels: dict[str, str], operator: str
) -> None:
    stage = Stage("database-connections", exhausted())
    for name, value in labels.items():
        path = f"/metadata/labels/{name.replace('/', '~1')}"
        stage.edit(Kind.STATEFUL_SET, "postgres", {"op": "add", "path": path, "value": value})
    _, steps = await stage.look(service="postgres")
    assert applying(steps) == []
    assert f"It is managed by {operator}" in steps[RESTART_SERVER].why


async def test_a_server_of_several_pods_is_not_restarted() -> None:
    stage = Stage("database-connections", exhausted())
    stage.edit(Kind.STATEFUL_SET, "postgres", {"op": "replace", "path": "/spec/replicas", "value": 2})
    stage.clock.advance(60)
    _, steps = await stage.look(service="postgres")
    assert applying(steps) == []
    assert "2 pods, and which one the clients write to is not known" in steps[RESTART_SERVER].why


async def test_a_full_disk_is_told_to_a_person_and_nothing_is_restarted() -> None:
    base = exhausted()
    line = '{time} ERROR:  could not extend file "base/16384/2619": No space left on device'
    behaviours = tuple(
        b.model_copy(update={"start_lines": (line,)}) if b.name == "postgres" else b for b in base.behaviours
    )
    stage = Stage("database-connections", base.model_copy(update={"behaviours": behaviours}))
    _, steps = await stage.look(service="postgres", logs=30 * 86_400)
    assert applying(steps) == []
    assert "The disk is full" in steps[BY_HAND].why
    assert "grow the volume" in steps[BY_HAND].advice


class Volumes:
    """A Prometheus that has the kubelet's measures of one claim: GiB used of 10."""

    def __init__(self, used: float) -> None:
        self.used = used

    async def instant(self, query: str) -> list[tuple[dict[str, str], float]]:
        rows = {"kubelet_volume_stats_used_bytes": self.used, "kubelet_volume_stats_capacity_bytes": 10.0}
        value = rows.get(query.partition("{")[0])
        return [] if value is None else [({"persistentvolumeclaim": "data-postgres-0"}, value * 1024**3)]


def with_volume(scenario: Scenario) -> Scenario:
    """The server's pod mounts a claim, and a Service chooses the pod."""
    objects = deepcopy(scenario.objects)
    server = next(o for o in objects if (o["kind"], o["metadata"]["name"]) == ("StatefulSet", "postgres"))
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data-postgres-0"}}
    server["spec"]["template"]["spec"].setdefault("volumes", []).append(volume)
    meta = {"name": "data-postgres-0", "namespace": "rag7"}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": meta,
    }
    claim["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
    spec = {"selector": server["spec"]["selector"]["matchLabels"], "ports": [{"port": 5432}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {**meta, "name": "postgres"}, "spec": spec}
    return scenario.model_copy(update={"objects": (*objects, claim, service)})


@pytest.mark.parametrize(("used", "full"), [(9.9, True), (5.0, False)])
@pytest.mark.parametrize("target", ["rag7/StatefulSet/postgres", "rag7/Deployment/redis"])
async def test_a_volume_of_the_server_that_is_full_is_told_to_a_person(
    used: float, full: bool, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the run is about a client: the Service says which pods the server is."""
    monkeypatch.setattr("app.sim.placement._claims", lambda *_: "")  # what binds a claim is not simulated
    calm = DatabaseClients(application="calm", user="langgraph")
    stage = Stage("database-connections", with_volume(world(calm, slots=("gone",))), target)
    stage.metrics = Volumes(used)  # type: ignore[assignment]
    diagnosis, steps = await stage.look(service="postgres")
    disk = diagnosis.finding(DISK)
    assert disk is not None
    assert disk.text.startswith(f"The server's pods have 1 volume, {int(full)} of 1 measured at 95 % or more")
    assert ("The disk is full" in steps[BY_HAND].why) is full
    assert ("grow the volume" in steps[BY_HAND].advice) is full
    slot = "the replication slot gone holds 3 GiB of WAL, and nobody reads it: drop it (pg_drop_replication_slot)"
    assert (slot in steps[BY_HAND].advice) is full
    assert applying(steps) == []


async def test_promise_4_a_volume_that_nobody_measures_is_unknown_and_not_full() -> None:
    diagnosis, steps = await look(with_volume(world(DatabaseClients())))
    disk = diagnosis.finding(DISK)
    assert disk is not None
    assert (disk.certainty, disk.data["full"]) == (Certainty.UNKNOWN, [])
    assert "The disk is full" not in steps[BY_HAND].why


REPLICATIONS = {
    "No server follows it, and no replication slot holds WAL": Replication(),
    "It is a standby, which takes no writes (12 s behind)": Replication(standby=True, seconds=12.0),
    "It is a standby, which takes no writes (how far it is behind is not known)": Replication(standby=True),
    "2 standbys follow it, 5 MiB and 3 s behind": Replication(
        standbys=(Standby("one", "streaming", 5 * 1024**2, 3.0), Standby("two", "streaming", 0))
    ),
    "The replication slot old holds 7 GiB of WAL, and nobody reads it": Replication(
        slots=(Slot("old", active=False, held=7 * 1024**3), Slot("read", active=True, held=8 * 1024**3))
    ),
}


@pytest.mark.parametrize("words", REPLICATIONS)
async def test_how_the_server_replicates_is_told(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sim.databases._replication", lambda *_: REPLICATIONS[words])
    diagnosis, _ = await look()
    found = diagnosis.finding(REPLICATION)
    assert found is not None
    assert (found.text, found.certainty) == (words, Certainty.KNOWN)


async def test_promise_4_a_replication_that_may_not_be_read_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.sim.databases._replication", lambda *_: None)
    diagnosis, steps = await look()
    found = diagnosis.finding(REPLICATION)
    assert found is not None
    assert found.certainty is Certainty.UNKNOWN
    assert END_IDLE in applying(steps), "the sessions were read all the same"
