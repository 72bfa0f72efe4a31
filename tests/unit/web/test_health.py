"""Health and metrics: open to everybody."""

from __future__ import annotations

from tests.unit.web.rig import Rig, problem_of


async def test_alive_asks_nobody(rig: Rig) -> None:
    rig.problems["store"] = "gone"
    async with rig.client() as client:
        response = await client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


async def test_ready_while_there_is_no_problem(rig: Rig) -> None:
    async with rig.client() as client:
        response = await client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"ready": True, "problems": {}, "degraded": {}})


async def test_not_ready_when_alerts_cannot_be_stored(rig: Rig) -> None:
    rig.problems["store"] = "the disk is full"
    async with rig.client() as client:
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"ready": False, "problems": {"store": "the disk is full"}, "degraded": {}}


async def test_what_alerts_do_not_need_is_told_and_keeps_none_out(rig: Rig) -> None:
    rig.degraded["cluster"] = "no answer for 30 s"
    async with rig.client() as client:
        response = await client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"ready": True, "problems": {}, "degraded": {"cluster": "no answer for 30 s"}}


async def test_metrics_are_in_prometheus_text_format(rig: Rig) -> None:
    rig.metrics.decisions.labels("deny", "paused").inc()
    async with rig.client() as client:
        response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert 'remediator_decisions_total{code="paused",verdict="deny"} 1.0' in response.text


async def test_health_is_open_under_any_host_name(open_rig: Rig) -> None:
    async with open_rig.client(host="10.1.2.3:8080") as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.get(path)).status_code == 200


async def test_an_unknown_path_is_a_problem_like_every_other(rig: Rig) -> None:
    async with rig.client() as client:
        problem_of(await client.get("/nowhere"), 404, "not_found")
        problem_of(await client.post("/healthz"), 405, "method_not_allowed")


async def test_the_documentation_is_served(rig: Rig) -> None:
    async with rig.client() as client:
        page = await client.get("/docs")
    assert page.status_code == 200
    assert "/openapi.json" in page.text
