"""The service's process with exactly the token of the account that the chart installs: every enabled alert is remediated, and one whose
right was taken away is told with the right. The API server's audit log is the witness."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.domain.json import Obj
from tests.live.chart.helm import CHART, Helm, Rendered
from tests.live.e2e.scene import Question
from tests.live.e2e.service import Service, body_of, policy
from tests.live.e2e.shop import Shop
from tests.live.e2e.stage import Stage
from tests.live.e2e.test_four_alerts import STORIES
from tests.live.stack import ControlPlane, wait_until

pytestmark = pytest.mark.live

RELEASE = "installed"
PLACES = {
    "ServiceAccount": "api/v1/namespaces/{}/serviceaccounts",
    "Role": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}
LACKING = "HighLatency, without a right"


def _install(helm: Helm, plane: ControlPlane, folder: Path, text: str) -> Rendered:
    """What gives the service its rights, as `helm install` would create it."""
    namespace = plane.create_namespace("release")
    values = folder / "values.json"
    values.write_text(json.dumps({"policy": {"files": {"policy.yaml": text}}, "secret": {"name": "tokens"}}))
    ended = helm("template", RELEASE, str(CHART), "--namespace", namespace, "--values", str(values))
    assert ended.returncode == 0, ended.stderr
    found = Rendered(ended.stdout, [one for one in yaml.safe_load_all(ended.stdout) if one])
    for kind, place in PLACES.items():
        for one in found.all(kind):
            where = one["metadata"].get("namespace", namespace)
            plane.create(f"/{place.format(where)}", one)
    assert not found.all("ClusterRoleBinding"), "nothing is given for the whole cluster"
    return found


def _as_account(plane: ControlPlane, namespace: str, name: str, kubeconfig: Path) -> str:
    """Have the kubeconfig speak as the account, and only as that; its user name."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    asked = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    token = plane.create(path, asked)["status"]["token"]
    config: Obj = json.loads(kubeconfig.read_text())
    config["users"] = [{"name": one["name"], "user": {"token": token}} for one in config["users"]]
    kubeconfig.write_text(json.dumps(config))
    return f"system:serviceaccount:{namespace}:{name}"


def _take_away(found: Rendered, plane: ControlPlane, namespace: str) -> None:
    """The right to patch Deployments, in one namespace."""
    role = next(one for one in found.all("Role") if one["metadata"]["namespace"] == namespace)
    rules = [
        rule
        for rule in role["rules"]
        if not ("deployments" in rule["resources"] and "patch" in rule["verbs"])
    ]
    assert len(rules) < len(role["rules"])
    path = f"/{PLACES['Role'].format(namespace)}/{role['metadata']['name']}"
    plane.client().put(path, json={**role, "rules": rules}).raise_for_status()


def _true(question: Question) -> bool:
    return bool(question())


def _prepared(shops: dict[str, Shop]) -> None:
    """Each has the trouble of its alert."""
    for shop in shops.values():
        shop.create()
    waiting = [(name, STORIES[name.partition(",")[0]][0](shop)) for name, shop in shops.items()]
    for name, script in waiting:
        for question in script:
            wait_until(partial(_true, question), 60.0, what=f"the trouble of {name}")
    for shop in shops.values():
        shop.wait_out_last_second()


def test_the_account_that_the_chart_installs_is_enough_for_every_alert_and_for_nothing_else(
    stage: Stage, helm: Helm, tmp_path: Path
) -> None:
    plane = stage.tools.plane
    shops = {name: Shop(plane, writes=False) for name in (*STORIES, LACKING)}
    text = policy(scope={"namespaces": [shop.namespace for shop in shops.values()]})
    found = _install(helm, plane, tmp_path, text)
    account = found.of("ServiceAccount")["metadata"]
    namespace = account.get("namespace") or found.workload["metadata"]["namespace"]
    place = stage.tools.new_place(policy_text=text)
    user = _as_account(plane, namespace, account["name"], place.kubeconfig)
    _take_away(found, plane, shops[LACKING].namespace)
    _prepared(shops)
    service = Service(place)
    try:
        service.serve()
        _remediates(service, plane, user, shops)
    finally:
        service.close()


def _remediates(service: Service, plane: ControlPlane, user: str, shops: dict[str, Shop]) -> None:
    began = datetime.now(UTC)

    def send(name: str, *, resolved: bool) -> None:
        labels = {"alertname": name.partition(",")[0], **shops[name].labels}
        assert service.post(body_of(labels, began, resolved=resolved)).status_code == 202

    for name in shops:
        send(name, resolved=False)
    for name, (_, changed, _) in STORIES.items():
        try:
            wait_until(partial(changed, shops[name]), 60.0, what=f"{name} remediated")
        except TimeoutError as error:
            error.add_note(_story(service, shops[name].namespace))
            raise
        send(name, resolved=True)
    ended = {
        "HighErrorRate": "fixed",
        "HighLatency": "contained",
        "PodRestarting": "fixed",
        "OOM": "contained",
    }
    for name, state in ended.items():
        service.wait_for(shops[name].namespace, state, 90.0)
        written = plane.mutations(user=user, namespace=shops[name].namespace)
        assert [(m.verb, m.target) for m in written if m.target != "events"] == [("patch", "deployments")]
    lacking = shops[LACKING].namespace
    wait_until(lambda: _told(service, lacking), 60.0, what="the missing right to be told")
    assert [m for m in plane.mutations(user=user, namespace=lacking) if m.target != "events"] == []
    assert {m.namespace for m in plane.mutations(user=user)} <= {shop.namespace for shop in shops.values()}


def _story(service: Service, namespace: str) -> str:
    """All that the service says about the namespace's incidents."""
    found: list[Any] = service.incidents(namespace)
    return json.dumps([service.get(f"incidents/{one['id']}") for one in found])


def _told(service: Service, namespace: str) -> bool:
    return f"patch deployments in namespace {namespace}" in _story(service, namespace)
