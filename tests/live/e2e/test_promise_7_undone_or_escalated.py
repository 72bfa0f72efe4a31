"""Undone by a person's command on a real cluster, and only where our values are still in place."""

from __future__ import annotations

import pytest

from tests.live.e2e.conftest import Site
from tests.live.e2e.shop import Shop
from tests.live.stack import wait_until

pytestmark = pytest.mark.live


def _fixed(site: Site, shop: Shop) -> str:
    """Has the service scale the workload from 2 to 8; gives the run."""
    shop.create()
    labels = {"alertname": "HighLatency", **shop.labels}
    site.alertmanager.fire(labels)
    wait_until(lambda: shop.get()["spec"]["replicas"] == 8, what="the change")
    site.alertmanager.resolve(labels)
    return str(site.service.run_of(site.service.wait_for(shop.namespace, "fixed"))["id"])


def _state(site: Site, run: str) -> str:
    return str(site.service.get(f"runs/{run}")["state"])


def test_a_person_undoes_a_finished_run_by_command(site: Site, shop: Shop) -> None:
    run = _fixed(site, shop)
    ordered = site.service.command("undo", run)
    assert (ordered.returncode, ordered.stdout) == (0, f"undo of run {run} requested\n"), ordered.stderr
    wait_until(lambda: _state(site, run) == "undone", what="the undo")
    assert shop.get()["spec"]["replicas"] == 2
    assert [(m.verb, m.target) for m in shop.written] == [("patch", "deployments")] * 2
    _, entries = site.told(shop.namespace, "*Undone*")
    assert "from 2 to 8 replicas" in entries[-1]
    code, text = site.service.ask("undo", run)
    assert code == 1
    assert "undone already" in text
    assert len(shop.written) == 2


def test_an_undo_leaves_alone_what_a_person_has_changed_since(site: Site, shop: Shop) -> None:
    run = _fixed(site, shop)
    shop.edit({"spec": {"replicas": 6}})
    assert site.service.ask("undo", run)[0] == 0
    wait_until(lambda: _state(site, run) == "undone", what="the end of the undo")
    assert shop.get()["spec"]["replicas"] == 6
    assert len(shop.written) == 1
    _, entries = site.told(shop.namespace, "Compare")
    assert "kubectl-edit" in entries[-1]
    assert "6" in entries[-1]
    code, text = site.service.ask("explain", run)
    assert code == 0
    assert "kubectl-edit" in text
