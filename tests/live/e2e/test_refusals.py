"""What the service may not do on a real cluster: it says so, names the reason, and writes nothing."""

from __future__ import annotations

import pytest

from app.domain.cluster import OPT
from tests.live.e2e.conftest import Site
from tests.live.e2e.shop import MERGE, Shop
from tests.live.stack import ControlPlane, wait_until

pytestmark = pytest.mark.live


def test_an_autoscaled_workload_is_scaled_through_its_autoscaler(site: Site, shop: Shop) -> None:
    shop.create()
    shop.add_autoscaler()
    labels = {"alertname": "HighLatency", **shop.labels}
    site.alertmanager.fire(labels)
    path = f"/apis/autoscaling/v2/namespaces/{shop.namespace}/horizontalpodautoscalers/web"
    wait_until(lambda: shop.get(path)["spec"]["minReplicas"] == 8, what="the autoscaler's minimum")
    wait_until(lambda: shop.get()["spec"]["replicas"] == 8, what="the autoscaler's own work")
    site.alertmanager.resolve(labels)
    site.service.wait_for(shop.namespace, "fixed")
    assert [(m.verb, m.target) for m in shop.written] == [("patch", "horizontalpodautoscalers")]


def test_a_namespace_that_opted_out_is_not_touched(site: Site, shop: Shop) -> None:
    shop.create()
    mark = {"metadata": {"labels": {OPT: "false"}, "annotations": {OPT: "false"}}}
    path = f"/api/v1/namespaces/{shop.namespace}"
    shop.plane.client().patch(path, json=mark, headers=MERGE).raise_for_status()
    labels = {"alertname": "HighLatency", **shop.labels}
    site.alertmanager.fire(labels)
    site.service.wait_for(shop.namespace, "refused")
    parent, entries = site.told(shop.namespace, "What would have to change")
    assert "REFUSED" in parent
    assert OPT in entries[-1]
    assert shop.written == shop.rehearsed == []
    site.alertmanager.resolve(labels)
    site.service.wait_for(shop.namespace, "resolved")


def test_a_missing_permission_is_named_to_a_person(site: Site, control_plane: ControlPlane) -> None:
    shop = Shop(control_plane, writes=False)
    shop.create()
    site.alertmanager.fire({"alertname": "HighLatency", **shop.labels})
    site.service.wait_for(shop.namespace, "escalated")
    parent, entries = site.told(shop.namespace, "patch")
    told = "\n".join([parent, *entries])
    assert "ESCALATED" in parent
    assert "patch" in told
    assert "deployments" in told
    assert shop.written == shop.rehearsed == []
