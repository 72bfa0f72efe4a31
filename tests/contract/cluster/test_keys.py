"""A key is rotated once, read back, and put back: the same on the simulated cluster and on a real API server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.actuator import Clients, Means
from app.domain.cluster import MARKER
from app.domain.errors import Held
from app.domain.json import Obj
from app.domain.outcome import ActionResult, UndoResult
from app.domain.plan import Action
from app.domain.secret import encoded, text_of
from app.domain.target import Kind, Target
from app.kube.actions import rollout_restart, rotate_key
from app.kube.actions.rotate_key import KeyList
from app.kube.key_actuator import KeyActuator
from app.kube.read import read_workload
from app.sim import SimCluster, VirtualClock
from tests.contract.cluster.sides import Side

ID = "run_1/0.0"
ACTUATOR = KeyActuator()
KEYS = KeyList("api-keys", "API_KEY", lines="API_KEYS")
ONE, TWO = "key-one-of-the-contract", "key-two-of-the-contract"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


def secret(**more: Any) -> Obj:
    data = {"API_KEY": encoded(ONE), "API_KEYS": encoded(f"{ONE}\n# spare\n{TWO}\n")}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-keys"}, "data": data, **more}


def deployment() -> Obj:
    ref = {"secretKeyRef": {"name": "api-keys", "key": "API_KEY"}}
    container = {
        "name": "app",
        "image": "registry.test/web:1",
        "env": [{"name": "API_KEY", "valueFrom": ref}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }


async def _nap(_seconds: float) -> None:
    return


class Scene:
    """A Secret, a workload that takes its key, and the rotation that was planned."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.asked = 0
        self.held = False

    async def begin(self, data: dict[str, str] | None = None) -> Action:
        made = secret()
        made["data"] |= data or {}
        self.side.create(made)
        self.side.create(deployment())
        target = Target(self.side.namespace, Kind.DEPLOYMENT, "web")
        self.workload = await read_workload(self.side.cluster, target)
        restart = rollout_restart(self.workload, datetime.now(UTC))
        assert isinstance(restart, Action)
        self.restart = restart
        built = rotate_key(self.workload, await self.secret(), KEYS, 1, str(restart.params["restarted_at"]))
        assert isinstance(built, Action)
        return built

    async def secret(self) -> Obj:
        return await self.side.cluster.get(Kind.SECRET, self.side.namespace, "api-keys")

    async def key(self) -> str | None:
        return text_of(await self.secret(), "API_KEY")

    async def restarted(self) -> str:
        found = await self.side.cluster.get(Kind.DEPLOYMENT, self.side.namespace, "web")
        notes = found["spec"]["template"]["metadata"].get("annotations") or {}
        return str(notes.get(RESTARTED_AT, ""))

    @property
    def clients(self) -> Clients:
        return Clients(self.side.cluster, SimCluster(VirtualClock()).databases)

    @property
    def means(self) -> Means:
        return Means(self.clients, self.ask, _nap)

    async def ask(self) -> None:
        self.asked += 1
        if self.held:
            raise Held("paused by kim")

    async def rotate(self, action: Action) -> ActionResult:
        found = await ACTUATOR.check(self.clients, action)
        assert found.ref is not None, found.text
        assert await ACTUATOR.dry_run(self.clients, action, ID, found) == ""
        return (await ACTUATOR.apply(self.means, action, ID, found)).result

    async def roll(self) -> None:
        """What the restart of the same step does."""
        self.side.edit(
            Kind.DEPLOYMENT,
            "web",
            [
                {
                    "op": "add",
                    "path": "/spec/template/metadata/annotations",
                    "value": {RESTARTED_AT: self.restart.params["restarted_at"]},
                }
            ],
        )


@pytest.fixture
def scene(side: Side) -> Scene:
    return Scene(side)


async def test_promise_2_a_key_is_rotated_once_marked_and_read_back(scene: Scene) -> None:
    action = await scene.begin()
    assert await ACTUATOR.in_place(scene.clients, action, ID) == ""
    assert await scene.rotate(action) is ActionResult.APPLIED
    assert (await scene.key(), scene.asked) == (TWO, 1)
    assert (await scene.secret())["metadata"]["annotations"][MARKER] == ID
    assert "was applied already" in await ACTUATOR.in_place(scene.clients, action, ID)
    found = await ACTUATOR.check(scene.clients, action, ID)
    again = await ACTUATOR.apply(scene.means, action, ID, found)
    assert (again.result, scene.asked) == (ActionResult.APPLIED, 1), "a second try sends nothing"


async def test_promise_7_an_undo_puts_the_key_back_and_restarts_the_pods_that_took_it(scene: Scene) -> None:
    action = await scene.begin()
    await scene.rotate(action)
    await scene.roll()
    before = await scene.restarted()
    undone = await ACTUATOR.undo(scene.means, action, ID)
    assert undone.result is UndoResult.UNDONE, undone
    asked = scene.asked
    assert (await scene.key(), asked >= 3) == (ONE, True)  # a status that moves meanwhile costs one more
    after = await scene.restarted()
    assert after > before, "later than the restart before, or its pods would stay"
    again = await ACTUATOR.undo(scene.means, action, ID)
    assert (again.result, await scene.restarted(), scene.asked) == (UndoResult.UNDONE, after, asked)


async def test_promise_7_an_undo_that_died_between_its_two_writes_goes_on_with_the_second(
    scene: Scene,
) -> None:
    action = await scene.begin()
    await scene.rotate(action)
    await scene.roll()
    before, own = await scene.restarted(), scene.means

    async def once() -> None:
        await scene.ask()
        if scene.asked == 3:
            raise Held("the process dies here")

    with pytest.raises(Held):
        await ACTUATOR.undo(Means(scene.clients, once, _nap), action, ID)
    assert (await scene.key(), await scene.restarted()) == (ONE, before)
    assert (await ACTUATOR.undo(own, action, ID)).result is UndoResult.UNDONE
    assert await scene.restarted() > before


async def test_promise_7_a_key_that_somebody_set_since_stays(scene: Scene) -> None:
    action = await scene.begin()
    await scene.rotate(action)
    scene.side.edit(
        Kind.SECRET, "api-keys", [{"op": "replace", "path": "/data/API_KEY", "value": encoded("theirs")}]
    )
    undone = await ACTUATOR.undo(scene.means, action, ID)
    assert undone.result is UndoResult.CONFLICT
    assert "/data/API_KEY is [hidden], not [hidden]" in undone.text
    assert "kubectl-edit" in undone.text
    assert (await scene.key(), await scene.restarted()) == ("theirs", "")


async def test_promise_10_a_hold_stops_the_write_right_before_it_goes_out(scene: Scene) -> None:
    action = await scene.begin()
    found = await ACTUATOR.check(scene.clients, action)
    scene.held = True
    with pytest.raises(Held):
        await ACTUATOR.apply(scene.means, action, ID, found)
    assert await scene.key() == ONE


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"op": "add", "path": "/immutable", "value": True}, "Secret api-keys is immutable"),
        (
            {
                "op": "add",
                "path": "/metadata/labels",
                "value": {"reconcile.external-secrets.io/managed": "true"},
            },
            "kept by External Secrets",
        ),
        (
            {
                "op": "add",
                "path": "/metadata/annotations",
                "value": {"argocd.argoproj.io/tracking-id": "a:v1/Secret:b/c"},
            },
            "kept by Argo CD",
        ),
        ({"op": "replace", "path": "/data/API_KEYS", "value": encoded(ONE)}, "not in the list of"),
        ({"op": "replace", "path": "/data/API_KEY", "value": encoded("x")}, "/data/API_KEY is [hidden]"),
    ],
)
async def test_promise_5_what_changed_since_the_plan_stops_it(
    scene: Scene, patch: dict[str, Any], words: str
) -> None:
    """Somebody made it immutable, a controller took it over, or a person withdrew the key or set another one."""
    action = await scene.begin()
    scene.side.edit(Kind.SECRET, "api-keys", [patch])
    found = await ACTUATOR.check(scene.clients, action)
    assert (found.ref, words in found.text) == (None, True), found.text
    for value in (ONE, TWO):
        assert value not in found.text
        assert encoded(value) not in found.text


async def test_promise_5_a_key_that_is_withdrawn_right_before_the_write_is_not_taken(scene: Scene) -> None:
    """After the check, before the request: the object has moved, and the list has lost the key."""
    action = await scene.begin()
    found = await ACTUATOR.check(scene.clients, action)
    patch = {"op": "replace", "path": "/data/API_KEYS", "value": encoded(ONE)}
    scene.side.edit(Kind.SECRET, "api-keys", [patch])
    with pytest.raises(Held, match="not in the list of"):
        await ACTUATOR.apply(scene.means, action, ID, found)
    assert await scene.key() == ONE


async def test_promise_7_an_undo_of_a_workload_that_is_gone_puts_the_key_back(scene: Scene) -> None:
    action = await scene.begin()
    await scene.rotate(action)
    scene.side.delete(Kind.DEPLOYMENT, "web")
    undone = await ACTUATOR.undo(scene.means, action, ID)
    assert (undone.result, "web is gone" in undone.text) == (UndoResult.UNDONE, True), undone
    assert await scene.key() == ONE


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}", "\t{} \n\n"])
async def test_promise_7_a_former_key_with_space_around_it_is_put_back_byte_for_byte(
    scene: Scene, around: str
) -> None:
    """As `kubectl create secret --from-file` writes it; the list holds the same key without."""
    raw = encoded(around.format(ONE))
    action = await scene.begin({"API_KEY": raw})
    await scene.rotate(action)
    assert await scene.key() == TWO
    undone = await ACTUATOR.undo(scene.means, action, ID)
    assert undone.result is UndoResult.UNDONE, undone
    assert (await scene.secret())["data"]["API_KEY"] == raw


async def test_an_undo_writes_no_secret_that_somebody_keeps_by_now(scene: Scene) -> None:
    action = await scene.begin()
    await scene.rotate(action)
    keeper = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "keys", "uid": "u-1"}
    owners = [{"op": "add", "path": "/metadata/ownerReferences", "value": [{**keeper, "controller": True}]}]
    scene.side.edit(Kind.SECRET, "api-keys", owners)
    undone = await ACTUATOR.undo(scene.means, action, ID)
    assert (undone.result, await scene.key()) == (UndoResult.CONFLICT, TWO), undone


async def test_an_undo_puts_no_key_back_that_was_taken_out_of_the_list(scene: Scene) -> None:
    action = await scene.begin()
    await scene.rotate(action)
    listed = [{"op": "add", "path": "/data/API_KEYS", "value": encoded(f"{TWO}\n")}]
    scene.side.edit(Kind.SECRET, "api-keys", listed)
    undone = await ACTUATOR.undo(scene.means, action, ID)
    assert (undone.result, await scene.key()) == (UndoResult.CONFLICT, TWO), undone
