"""The commands and arguments of a pod template stay in it, whatever names them: a probe, a hook, a migration in front of the command."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.json import Obj
from tests.unit.causes.test_while_they_run import crashing, fresh, probed
from tests.unit.causes.world import World, at

PLANTED = "kx7Qv2mZp9Lw"


def _probe(**probe: object) -> Callable[[], World]:
    def change(spec: Obj) -> None:
        spec["containers"][0]["readinessProbe"] = probe

    return lambda: probed("Readiness probe failed: not yet", since=6).both(change)


def _hook() -> World:
    said = (
        f'Exec lifecycle hook ([sh -c register --as {PLANTED}]) for Container "app" in Pod "new-0_shop(1-2)" failed - error: '
        f"command 'sh -c register --as {PLANTED}' exited with 7: no route, message: \"curl: (7) no route to registry\""
    )
    return crashing(code=137).event(
        "FailedPostStartHook", said, "Pod/new-0", first=at(minutes=4), container="app"
    )


def _migrates() -> World:
    command = ["sh", "-c", f"echo {PLANTED} | alembic upgrade head {PLANTED} && exec uvicorn app:app"]
    return fresh().both(lambda s: s["containers"][0].update(command=command)).crash(restarts=4)


def _migrates_first() -> World:
    """Its name alone says so."""
    init = {"name": "migrate", "image": "registry.test/jobs:v2", "command": ["/run", PLANTED]}
    world = fresh().only_new(lambda s: s.update(initContainers=[init]))
    for name in world.pods:
        world.state(name, {"terminated": {"reason": "Completed", "exitCode": 0}}, container="migrate")
    return world.crash(restarts=4)


@pytest.mark.parametrize(
    ("world", "told"),
    [
        (_probe(exec={"command": ["/bin/check", PLANTED]}), "(/bin/check)"),
        (_probe(httpGet={"port": 80, "path": f"/healthz?key={PLANTED}"}), "(GET :80/healthz)"),
        (_hook, "its command exited with 7: no route: curl: (7) no route to registry"),
        (_migrates, "migrates when its pods start (it has alembic)"),
        (_migrates_first, "migrates when its pods start (it has migrate)"),
    ],
    ids=["a probe's arguments", "a probe's query", "a hook", "a migration", "a migration by its name"],
)
async def test_no_command_of_the_template_is_told(world: Callable[[], World], told: str) -> None:
    diagnosis, steps = await world().look()
    text = f"{diagnosis} {[(s.why, s.advice, s.asks, s.open_task) for s in steps.values()]}"
    assert told in text
    assert PLANTED not in text
