"""Finding C: a rollback over a migration or a marked one-way step asks; so does one to a revision not known to be good."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from app.domain.remediation import History, PastAlert, Scene
from app.domain.target import Kind
from app.kube.lineage import template_written_at
from remediations.evidence.rollouts import (
    ONE_WAY,
    RollbackParams,
    one_way_since,
    perhaps_a_return,
    records_of,
    rollout_finding,
    was_redeployed,
)
from tests.unit.remediations.snapshots import NOW, ago, revision, workload
from tests.unit.remediations.stage import Services, Stage

BOTH = ("postgres", "redis")
V1, V2 = "registry/app:v1", "registry/app:v2"
GOAL = revision(7, V1, created_at=ago(days=3))


def job(name: str, *, age: float = 60, command: str = "run", **meta: Any) -> dict[str, Any]:
    made = (NOW - timedelta(seconds=age)).isoformat()
    pod = {"spec": {"containers": [{"name": "c", "command": [command]}]}}
    return {
        "metadata": {"name": name, "namespace": "rag7", "creationTimestamp": made, **meta},
        "spec": {"template": pod},
    }


class _Jobs:
    def __init__(self, *jobs: dict[str, Any]) -> None:
        self._jobs = jobs

    async def list_objects(self, kind: Kind, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        assert (kind, namespace, selector) == (Kind.JOB, "rag7", "")
        return list(self._jobs)


def scene(
    *jobs: dict[str, Any], history: History | None = None, fired_at: datetime = NOW, **of: Any
) -> Scene:
    cluster: Any = _Jobs(*jobs)
    seen = workload(**of)
    return Scene(
        cluster, seen, "HighErrorRate", {}, fired_at, NOW, Services({}), history=history or History()
    )


@pytest.mark.parametrize(
    ("marks", "jobs", "why"),
    [
        ({}, [], ""),
        ({}, [job("report")], ""),
        (
            {ONE_WAY: "drops column total"},
            [],
            f"revision 8 is marked as a one-way step ({ONE_WAY}: drops column total)",
        ),
        ({ONE_WAY: "false"}, [], ""),
        ({"team/one-way": "true"}, [], "revision 8 is marked as a one-way step (team/one-way: true)"),
        ({"team/other": "true"}, [], ""),
        (
            {},
            [job("db-migrate")],
            (
                "Job db-migrate (a migration by its name or command) ran at 2026-03-04 02:59 UTC, and an older version may "
                "not work with what it changed"
            ),
        ),
        ({}, [job("db-migrate", age=7_200)], ""),  # before the release
        (
            {},
            [job("prepare", command="alembic upgrade head")],
            (
                "Job prepare (a migration by its name or command) ran at 2026-03-04 02:59 UTC, and an older version may "
                "not work with what it changed"
            ),
        ),
        (
            {},
            [job("prepare", annotations={"helm.sh/hook": "pre-upgrade,pre-install"})],
            (
                "Job prepare (Helm hook pre-upgrade,pre-install) ran at 2026-03-04 02:59 UTC, and an older version may not "
                "work with what it changed"
            ),
        ),
        ({}, [job("smoke", annotations={"helm.sh/hook": "test"})], ""),
    ],
)
async def test_c_a_one_way_step_is_seen(marks: dict[str, str], jobs: list[Any], why: str) -> None:
    found = [revision(8, V2, current=True, marks=marks), GOAL]
    keys = (ONE_WAY, "team/one-way")
    assert await one_way_since(scene(*jobs), found, GOAL, ago(hours=1), keys) == why


async def test_c_a_mark_on_the_goal_itself_is_no_step_in_between() -> None:
    goal = revision(7, V1, created_at=ago(days=3), marks={ONE_WAY: "true"})
    found = [revision(8, V2, current=True), goal]
    assert await one_way_since(scene(), found, goal, None, (ONE_WAY,)) == ""


def measured() -> Stage:
    """The shipped story, with the Prometheus that knows of the time before the release."""
    stage = Stage("high-error-rate")
    stage.metrics = stage.cluster.metrics
    return stage


async def test_c_jobs_that_cannot_be_read_make_it_ask() -> None:
    stage = measured()
    stage.cluster.deny("list", Kind.JOB)
    _, steps = await stage.look(dependencies=BOTH)
    assert steps["roll-back"].applies
    assert steps["roll-back"].asks.startswith(
        "whether a migration ran since then is not known: Jobs could not be read"
    )


async def test_c_the_step_says_why_its_goal_is_known_good() -> None:
    _, steps = await measured().look(dependencies=BOTH)
    assert steps["roll-back"].asks == ""
    assert "revision 1 ran " in steps["roll-back"].why
    assert steps["roll-back"].why.endswith("without an alert")


async def test_c_a_goal_that_is_not_known_to_be_good_is_asked_for() -> None:
    stage = measured()
    _, steps = await stage.look(known_good="300d", dependencies=BOTH)
    assert steps["roll-back"].applies
    assert steps["roll-back"].asks.startswith("revision 1 is not known to be good: revision 1 ran only ")


def written(manager: str, at: datetime) -> dict[str, Any]:
    entry = {
        "manager": manager,
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "fieldsV1": {"f:spec": {"f:template": {}}},
    }
    return {"metadata": {"managedFields": [entry]}, "spec": {"replicas": 2, "template": {"spec": {}}}}


BACK = [
    revision(9, V1, current=True, created_at=ago(days=3), earlier=(7,)),
    revision(8, V2, created_at=ago(days=1)),
]


@pytest.mark.parametrize(
    ("manager", "minutes", "alerts", "again"),
    [
        ("argocd-controller", 10, (), True),  # v2 ran a day without an alert: an old template deployed again
        ("kubectl-rollout", 10, (), False),  # a person's rollback
        ("alert-remediator", 10, (), False),  # ours
        ("argocd-controller", 10, (("HighErrorRate", 20),), False),  # v2 had an alert: a repair
        ("argocd-controller", 1, (), False),  # after the alert that is looked at
    ],
)
def test_c_an_old_template_deployed_again_is_told_from_a_repair(
    manager: str, minutes: int, alerts: tuple[tuple[str, int], ...], again: bool
) -> None:
    past = tuple(PastAlert(name, ago(minutes=m), None) for name, m in alerts)
    looked = scene(
        history=History(alerts=past), fired_at=ago(minutes=5), manifest=written(manager, ago(minutes=minutes))
    )
    records = records_of(BACK, looked, 1_800)
    assert was_redeployed(BACK, looked, records) is again
    finding = rollout_finding(BACK, looked, RollbackParams())
    assert finding.data["restored"] is not again
    assert finding.data["age_seconds"] == minutes * 60, "dated by when it became the present one"
    if again:
        assert finding.text == "Revision 9 (v2 -> v1) was deployed again 10 min ago"
        assert (finding.data["recent"], finding.data["after_alert"]) == (True, False)
    assert template_written_at(looked.workload) == ago(minutes=minutes)


def test_c_when_the_template_was_written_is_not_known_a_return_is_a_repair() -> None:
    looked = scene(fired_at=ago(minutes=5))
    assert not was_redeployed(BACK, looked, records_of(BACK, looked, 1_800))


V1_AGAIN = "revision 9 runs the images of revision 7 again: somebody went back, perhaps to repair something"


@pytest.mark.parametrize(
    ("images", "why"),
    [
        ((V1, V2, V1), V1_AGAIN),  # by a release of its own, whose template has another label or commit
        ((V1, V2, f"{V1}@sha256:{'0' * 64}"), V1_AGAIN),
        ((V1, V2, "mirror.example.org/app:v1"), V1_AGAIN),
        ((V1, V1, V1), ""),  # configuration only
        ((V1, V2, V2), ""),
        ((V1, V2, "registry/app:v3"), ""),
    ],
)
def test_c_what_runs_tells_that_somebody_went_back(images: tuple[str, ...], why: str) -> None:
    """Each release's template differs by a mark of the build, so that none of them equals another."""
    found = [
        revision(7 + n, image, current=n == 2, created_at=ago(hours=9 - n), fingerprint=f"build {n}")
        for n, image in enumerate(images)
    ]
    assert perhaps_a_return(found[::-1], redeployed=False) == why


def test_c_an_older_template_that_came_back_may_be_a_repair_unless_it_had_been_rolled_back_from() -> None:
    assert "revision 9 is an older version that somebody brought back" in perhaps_a_return(
        BACK, redeployed=True
    )
    worse = [
        revision(10, V2, current=True, created_at=ago(days=1), earlier=(8,)),
        revision(9, V1, created_at=ago(days=3), earlier=(7,)),
    ]
    assert perhaps_a_return(worse, redeployed=True) == ""


CHANGES_A_DATABASE = [
    "bin/rails db:prepare",
    "npx drizzle-kit push",
    "atlas schema apply --auto-approve",
    "mix ecto.setup",
    "rake db:schema:load",
    "php artisan db:wipe",
    "dotnet ef database update",
    "psql -f /sql/2026-11-alter.sql",
    "python -m yoyo apply",
    "cargo run --bin migrator",
    "hasura deploy",
    "supabase db push",
    "pgroll start x.json",
    "gh-ost --alter x",
    "bytebase run",
    "python manage.py migrate",
    "alembic upgrade head",
    "flyway info",
    "npx prisma db push",
    "npx knex migrate:latest",
    "npx sequelize db:migrate",
    "typeorm schema:sync",
    "mikro-orm schema:update --run",
    "doctrine:schema:update",
    "bin/console doctrine:migrations:migrate",
    "sqlx database setup",
    "diesel setup",
    "diesel database reset",
    "flask db upgrade",
    "airflow db init",
    "superset db upgrade",
    "odoo -u all",
    "pt-online-schema-change --alter",
    "mysql shop -e 'ALTER TABLE x'",
    "node-pg-migrate up",
    "pgmigrate -t latest",
    "migra a b",
    "tern migrate",
    "psqldef -U x",
    "./upgrade-db.sh",
    "init_db",
    "sh -c 'psql $URL < schema.sql'",
    "mongosh x --eval 'update '",
    "aerich upgrade",
    "vendor/bin/phinx run",
    "dbmate up",
    "goose up",
    "skeema push",
    "liquibase update",
    "rake db:structure:load",
    "schemachange -f",
    "sqitch deploy",
    "roundhouse",
    "umzug up",
    "gcloud spanner databases ddl update x",
    "java -jar app.jar --spring.jpa.hibernate.ddl-auto=update",
]
CHANGES_NONE = [
    "gunicorn app",
    "node server.js",
    "until psql -c 'SELECT 1'; do sleep 1; done",
    "mongod --bind_ip_all",
    "mysqld",
    "mysqladmin ping",
    "immigration-service",
    "wait-for-db:5432",
    "nginx -g 'daemon off;'",
    "redis-server",
    "python -m uvicorn app",
    "java -jar app.jar",
    "sh -c 'until pg_isready; do sleep 1; done'",
    "pattern serve",
    "mongoose-app",
    "psql -c 'select 1' && ./update-cache",
    "celery -A app worker",
    "postgres -c max_connections=100",
    "--database=shop --schema=public",
    "/updater --interval 5m",
]


@pytest.mark.parametrize(
    ("command", "found"), [*((c, True) for c in CHANGES_A_DATABASE), *((c, False) for c in CHANGES_NONE)]
)
async def test_a_command_that_changes_a_database_is_a_one_way_step_of_a_job_and_of_a_pod(
    command: str, found: bool
) -> None:
    revisions = [revision(8, V2, current=True), GOAL]
    by_job = await one_way_since(scene(job("prepare-it", command=command)), revisions, GOAL, ago(hours=1), ())
    assert bool(by_job) is found
    starting = revision(8, V2, current=True)
    starting.template["spec"]["containers"][0]["command"] = ["sh", "-c", f"{command} && exec app"]
    by_pod = await one_way_since(scene(), [starting, GOAL], GOAL, ago(hours=1), ())
    assert bool(by_pod) is found


async def test_a_job_is_known_by_its_image_and_its_init_containers_too() -> None:
    by_image, by_init = job("prepare-it"), job("prepare-it")
    by_image["spec"]["template"]["spec"]["containers"][0]["image"] = "flyway/flyway:10"
    by_init["spec"]["template"]["spec"]["initContainers"] = [{"name": "a", "command": ["goose", "up"]}]
    for one in (by_image, by_init):
        assert await one_way_since(scene(one), [revision(8, V2, current=True), GOAL], GOAL, ago(hours=1), ())
