"""No secret leaves: whatever is remediated, only the pre-images hold values of the cluster, and with a key not even they."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography.fernet import Fernet, MultiFernet

from app.domain.decision import Mode
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.domain.secret import encoded, text_of
from app.domain.target import Kind, Target
from app.flow.deciding.history import history_of
from app.flow.services import Reach
from app.kube.read import read_workload, revisions
from app.observe import logs
from app.sim.databases import DatabaseClients
from app.sim.scenario import Scenario
from app.store import audit, retention
from app.store.migrate import upgrade
from app.store.tx import VaultKeys
from tests.births import scenario_of
from tests.contract import postgres
from tests.contract.stores import missing
from tests.crash.worlds import flood
from tests.scenario.canaries import (
    CANARY,
    ENCODED,
    FailingDependencies,
    Pages,
    RefusingCluster,
    Spans,
    answers,
    notes,
    planted,
    rows_with,
    told,
)
from tests.scenario.rig import Rig
from tests.scenario.scenes import alert, all_runs, body, policy, says_yes, the_run, writes

SEALED = VaultKeys(encryption=(Fernet.generate_key().decode(),))


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What the service logs, at its most talkative."""
    stream = io.StringIO()
    logs.configure(stream, level="DEBUG", as_json=True)
    yield stream
    logs.configure()
    structlog.reset_defaults()


@asynccontextmanager
async def rig_of(
    path: Path, scenario: str | Scenario, *, in_git: bool = False, **changes: Any
) -> AsyncIterator[Rig]:
    """A service on a scenario with canaries, whose databases quote their DSN, and which pages."""
    mode, pages = changes.pop("mode", Mode.AUTO), changes.pop("pages", Pages())
    rig = Rig(path / "rig.sqlite", world=planted(scenario, in_git=in_git), **{"tracer": Spans()} | changes)
    rig.policy = policy(mode=mode)
    rig.pager = pages.client(rig.clock)
    rig.reach = Reach(pages=True, notes=True)
    await rig.born()
    failing = FailingDependencies(rig.services.dependencies)
    object.__setattr__(rig.services, "dependencies", failing)
    yield rig
    await rig.close()


async def expect_nothing(
    rig: Rig, logged: io.StringIO, *more: str, kept: bool, pages: Pages | None = None
) -> None:
    """The search, for `more` words besides. `kept`: the pre-images have values in the clear; `pages`: somebody was paged, and what was
    said."""
    words = (CANARY, ENCODED, *more)
    spans = rig.tracer.told() if isinstance(rig.tracer, Spans) else ""
    places = {**await answers(rig), "messages": told(rig), "log": logged.getvalue(), "spans": spans}
    if pages is not None:
        assert pages.bodies
        places |= {"pages": "\n".join(pages.bodies), "notes": await notes(rig)}
        assert places["notes"]
    leaks = {name: _around(text, words) for name, text in places.items() if any(w in text for w in words)}
    assert leaks == {}
    rows = rows_with(rig.url or rig.path, *words)
    assert {t: [_around(r, words) for r in found] for t, found in rows.items() if t != "pre_images"} == {}
    assert ("pre_images" in rows) is kept


def _around(text: str, words: Sequence[str]) -> str:
    at = max(map(text.find, words))
    return text[max(0, at - 200) : at + 60]


async def ended(rig: Rig) -> RunState:
    """Let time pass until the newest run has ended; how."""

    async def over() -> bool:
        found = await all_runs(rig)
        return bool(found) and found[-1].state.ended

    await rig.until(over)
    await rig.run(30)
    return (await all_runs(rig))[-1].state


async def asked(rig: Rig) -> str:
    """Let time pass until somebody is asked; the run."""

    async def waits() -> bool:
        return any(r.state is RunState.WAITING for r in await all_runs(rig))

    await rig.until(waits)
    await rig.run(10)
    return (await the_run(rig)).id


@pytest.mark.parametrize("keys", [VaultKeys(), SEALED], ids=["no key", "a key"])
async def test_of_a_rollback_and_its_undo_only_the_pre_image_has_values(
    tmp_path: Path, logged: io.StringIO, keys: VaultKeys
) -> None:
    """The undo needs them: it brings every value back that the rollback took away."""
    async with rig_of(tmp_path, "high-error-rate", keys=keys) as rig:
        before = template(rig)
        assert await ended(rig) is RunState.FIXED
        assert f"{CANARY}-new-args" not in str(template(rig))
        run = await the_run(rig)
        await rig.operations.undo(run.id, "alice")
        assert await ended(rig) is RunState.UNDONE
        assert template(rig) == before
        assert f"{CANARY}-new-env" in str(before)
        assert "[redacted]" in rig.notebook.text, "the log lines with the canary were evidence"
        await expect_nothing(rig, logged, kept=not keys.encryption)


def template(rig: Rig) -> Any:
    found = rig.cluster.peek(Kind.DEPLOYMENT, "rag7", "langgraph")
    assert found is not None
    return found["spec"]["template"]


async def test_on_postgres_only_the_pre_image_has_values_and_with_a_key_not_even_it(
    tmp_path: Path, logged: io.StringIO, request: pytest.FixtureRequest
) -> None:
    """The same search through all schemas, with and without a key, and what a stuck undo says to PagerDuty."""
    try:
        with postgres.running() as server:
            for keys in (VaultKeys(), SEALED):
                url, pages = server.new_database(), Pages()
                upgrade(url)
                async with rig_of(tmp_path, "high-error-rate", keys=keys, url=url, pages=pages) as rig:
                    assert await ended(rig) is RunState.FIXED
                    run = await the_run(rig)
                    rig.store.vault = replace(rig.store.vault, cipher=_other_cipher())
                    await rig.operations.undo(run.id, "alice")
                    assert await ended(rig) is (RunState.STUCK if keys.encryption else RunState.UNDONE)
                    paged = pages if keys.encryption else None
                    await expect_nothing(rig, logged, kept=not keys.encryption, pages=paged)
    except postgres.PostgresMissingError as error:
        missing(str(error), request)
        raise


def _other_cipher() -> MultiFernet:
    return MultiFernet([Fernet(Fernet.generate_key())])


@pytest.mark.parametrize("name", ["high-latency", "out-of-memory", "pod-restarting"])
async def test_no_remediation_lets_a_secret_out(tmp_path: Path, logged: io.StringIO, name: str) -> None:
    """Scaling, raising memory, restarting, rolling a crash loop back; and whatever comes after."""
    async with rig_of(tmp_path, name, keys=SEALED) as rig:
        await rig.until(lambda: all_runs(rig))
        await says_yes(rig)  # the release brought what kills it: a question
        await ended(rig)
        assert writes(rig)
        await expect_nothing(rig, logged, kept=False)


async def test_a_restart_after_a_step_that_did_not_help_lets_no_secret_out(
    tmp_path: Path, logged: io.StringIO
) -> None:
    """More replicas do not carry the load, and neither does a restart: a person is paged."""
    pages = Pages()
    async with rig_of(tmp_path, flood(), keys=SEALED, pages=pages) as rig:
        await asked(rig)
        await says_yes(rig)  # whether a restart helps
        await ended(rig)
        done = await rig.store.read(lambda conn: audit.page(conn, 0, 10_000))
        plans = [r.data["plan"]["kind"] for r in done if r.kind is EventKind.ACTION_INTENDED]
        assert plans == ["scale", "rollout-restart"]
        await expect_nothing(rig, logged, kept=False, pages=pages)


async def test_a_question_and_its_approval_let_no_secret_out(tmp_path: Path, logged: io.StringIO) -> None:
    """What is approved is bound to the values all the same."""
    async with rig_of(tmp_path, "high-error-rate", keys=SEALED, mode=Mode.APPROVE) as rig:
        run_id = await asked(rig)
        await expect_nothing(rig, logged, kept=False)
        await rig.operations.approve(run_id, "alice", (await the_run(rig)).plan_hash)
        assert await ended(rig) is RunState.FIXED
        await expect_nothing(rig, logged, kept=False)


async def test_the_patch_for_an_object_kept_in_git_names_paths_only(
    tmp_path: Path, logged: io.StringIO
) -> None:
    """A person reverts the commit; the values are in Git."""
    async with rig_of(tmp_path, "high-error-rate", keys=SEALED, in_git=True) as rig:
        await asked(rig)
        assert "/spec/template/spec/containers/[name=langgraph]/args: [hidden]" in rig.notebook.text
        await expect_nothing(rig, logged, kept=False)


async def test_what_the_api_server_quotes_does_not_get_out(tmp_path: Path, logged: io.StringIO) -> None:
    """Its refusal is told to people, without the value."""
    pages = Pages()
    async with rig_of(
        tmp_path, "high-error-rate", keys=SEALED, cluster_type=RefusingCluster, pages=pages
    ) as rig:
        assert await ended(rig) is RunState.FAILED
        assert 'admission webhook "no" denied the request' in rig.notebook.text
        await expect_nothing(rig, logged, kept=False, pages=pages)


async def test_what_senders_put_into_urls_and_annotations_does_not_get_out(
    tmp_path: Path, logged: io.StringIO
) -> None:
    """Of an alert that is taken, and of one that is rejected. Templates of alerts on logs quote the line."""
    async with rig_of(tmp_path, "high-error-rate", keys=SEALED, use_api=False) as rig:
        url = f"https://grafana:{CANARY}-url@metrics.example/graph"
        good = {
            **alert(rig),
            "generatorURL": f"{url}?token={CANARY}-parameter",
            "annotations": {
                "runbook_url": url,
                "description": f"see {url}, it said: Authorization: Bearer {CANARY}-bearer-0123456789",
                "summary": f"login refused: password={CANARY}-quoted",
                "api_token": f"{CANARY}-named",
            },
        }
        bad = {**good, "status": "odd", "annotations": {"password": f"{CANARY}-rejected"}}
        await rig.send({**body(good, bad), "externalURL": url})
        await rig.run(60, alerts=False)
        assert "https://grafana:[redacted]@metrics.example/graph" in rig.notebook.text
        assert "login refused: password=[redacted]" in rig.notebook.text
        await expect_nothing(rig, logged, kept=False)


async def test_a_second_rollback_knows_by_digests_what_was_left(tmp_path: Path, logged: io.StringIO) -> None:
    """The journal has no digest of a template that could be guessed from outside."""
    async with rig_of(tmp_path, "high-error-rate", keys=SEALED) as rig:
        await ended(rig)
        run = await the_run(rig)
        left = run.step.actions[0].params["left"]
        history = await rig.store.read(
            lambda conn: history_of(
                conn, run.incident_id, run.target_key, rig.clock.now(), rig.store.vault.key, ()
            )
        )
        older = await revisions(rig.cluster, await read_workload(rig.cluster, Target.parse(run.target_key)))
        assert [r.fingerprint in history.left_revisions for r in older] == [False, True]
        assert left not in {r.fingerprint for r in older}


async def test_without_its_key_a_planned_change_is_refused_and_an_undo_is_a_persons_work(
    tmp_path: Path,
) -> None:
    """Nothing that stands for a hidden value ever reaches the cluster."""
    async with rig_of(tmp_path, "high-error-rate", keys=SEALED, mode=Mode.APPROVE) as rig:
        run_id = await asked(rig)
        await rig.die()
        rig.keys = VaultKeys()
        await rig.born()
        await rig.operations.approve(run_id, "alice")
        assert await ended(rig) is RunState.FAILED
        assert "no encryption key is set" in (await the_run(rig)).result
        assert writes(rig) == []


async def test_an_undo_without_the_key_is_stuck_and_says_why(tmp_path: Path) -> None:
    """Somebody lost the key after the rollback."""
    async with rig_of(tmp_path, "high-error-rate", keys=SEALED) as rig:
        assert await ended(rig) is RunState.FIXED
        await rig.die()
        rig.keys = VaultKeys(encryption=(Fernet.generate_key().decode(),))
        await rig.born()
        await rig.operations.undo((await the_run(rig)).id, "alice")
        assert await ended(rig) is RunState.STUCK
        assert "encrypted with a key that is not set" in rig.notebook.text
        assert len(writes(rig)) == 1


async def test_pre_images_go_with_their_run(tmp_path: Path) -> None:
    """Retention removes both."""
    async with rig_of(tmp_path, "high-error-rate") as rig:
        await ended(rig)
        assert "pre_images" in rows_with(rig.path, CANARY)
        await rig.run(7200, alerts=False)
        later = rig.clock.now() + timedelta(days=1)
        await rig.store.write(lambda tx: retention.prune(tx, later, 100))
        assert await all_runs(rig) == []
        assert rows_with(rig.path, CANARY) == {}


async def test_of_a_database_neither_the_login_nor_a_statements_values_leave(
    tmp_path: Path, logged: io.StringIO
) -> None:
    """The URL of the Secret holds a canary, and so does what the clients sent; a second look finds another password."""
    base = scenario_of("database-connections")
    (server,) = base.databases
    clients = tuple(
        c.model_copy(update={"query": f"{c.query} -- {CANARY}", "application": c.application})
        for c in (
            *server.clients,
            DatabaseClients(state="idle in transaction", since=4_000.0, query=f"SELECT '{CANARY}-literal'"),
        )
    )
    login = f"postgresql://langgraph:{CANARY}-password@postgres/langgraph_checkpoints"
    world = base.model_copy(
        update={
            "databases": (server.model_copy(update={"password": f"{CANARY}-password", "clients": clients}),)
        }
    )
    async with rig_of(tmp_path, world) as rig:
        data = {"path": "/data/DATABASE_URL", "value": base64.b64encode(login.encode()).decode()}
        rig.cluster.edit(Kind.SECRET, "rag7", "langgraph-secrets", [{"op": "replace", **data}])
        assert await ended(rig) is RunState.CONTAINED
        assert len(writes(rig)) == 10
        await expect_nothing(rig, logged, kept=False)
        assert base64.b64encode(login.encode()).decode() not in told(rig) + logged.getvalue()
        broken = base64.b64encode(f"{login}/%zz?{CANARY}".encode()).decode()
        rig.cluster.edit(
            Kind.SECRET, "rag7", "langgraph-secrets", [{"op": "replace", **data, "value": broken}]
        )
        await rig.run(60)
        await expect_nothing(rig, logged, kept=False)


@pytest.mark.parametrize("keys", [VaultKeys(), SEALED], ids=["no key", "a key"])
async def test_of_a_rotation_and_its_undo_neither_the_old_nor_the_new_key_leaves(
    tmp_path: Path, logged: io.StringIO, keys: VaultKeys
) -> None:
    """Both, plain and as the Secret holds them, and the list of all: found in the pre-image alone, and with a key not even there."""
    old, new, spare = (f"{CANARY}-key-{name}" for name in ("old", "new", "spare"))
    listed = f"{old}\n{new}\n{spare}"
    pages = Pages()
    async with rig_of(tmp_path, _keyed(old, listed), keys=keys, pages=pages) as rig:
        assert await ended(rig) is RunState.CONTAINED
        found = rig.cluster.peek(Kind.SECRET, "rag7", "langgraph-api-keys")
        assert found is not None
        assert text_of(found, "OPENAI_API_KEY") == new
        run = await the_run(rig)
        words = [encoded(text) for text in (old, new, spare)]
        await expect_nothing(rig, logged, *words, kept=not keys.encryption)
        await rig.operations.undo(run.id, "alice")
        assert await ended(rig) is RunState.UNDONE
        found = rig.cluster.peek(Kind.SECRET, "rag7", "langgraph-api-keys")
        assert found is not None
        assert text_of(found, "OPENAI_API_KEY") == old
        await expect_nothing(rig, logged, *words, kept=not keys.encryption)


async def test_a_rotation_that_a_person_overruled_tells_no_key(tmp_path: Path, logged: io.StringIO) -> None:
    """The conflict of the undo is told by its path, and so is what stands in the way of a plan."""
    old, theirs = f"{CANARY}-key-old", f"{CANARY}-key-theirs"
    async with rig_of(tmp_path, _keyed(old, f"{old}\n{CANARY}-key-new"), keys=SEALED) as rig:
        assert await ended(rig) is RunState.CONTAINED
        patch = {"op": "replace", "path": "/data/OPENAI_API_KEY", "value": encoded(theirs)}
        rig.cluster.edit(Kind.SECRET, "rag7", "langgraph-api-keys", [patch])
        await rig.operations.undo((await the_run(rig)).id, "alice")
        assert await ended(rig) is RunState.UNDO_CONFLICT
        assert "/data/OPENAI_API_KEY is [hidden], not [hidden]" in rig.notebook.text
        await expect_nothing(rig, logged, encoded(old), encoded(theirs), kept=False)


def _keyed(active: str, listed: str) -> Scenario:
    """The shipped scenario with these keys."""
    base = scenario_of("api-rate-limits")
    data = {"OPENAI_API_KEY": encoded(active), "OPENAI_API_KEYS": encoded(listed)}
    behaviours = tuple(
        b.model_copy(
            update={"when": b.when.model_copy(update={"secret": dict.fromkeys(b.when.secret, active)})}
        )
        for b in base.behaviours
    )
    objects = tuple(
        {**o, "data": data} if o["metadata"]["name"] == "langgraph-api-keys" else o for o in base.objects
    )
    return base.model_copy(update={"objects": objects, "behaviours": behaviours})
