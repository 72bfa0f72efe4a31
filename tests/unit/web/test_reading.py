"""The reading API: what is stored, cursor-paged, for callers with the scope `read`."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from app.domain.alert import Delivery, ManualRequest, Source
from app.domain.decision import Mode
from app.domain.errors import StoreUnavailable
from app.domain.events import EventKind
from app.domain.json import canonical
from app.domain.outcome import IncidentState, RunState
from app.domain.plan import Step
from app.domain.text import CONTROL
from app.intake import alertmanager
from app.store import audit, incidents, records, runs, work
from app.store.runs import NewRun
from app.web.paging import encode
from tests.unit.web.rig import ALL, NOW, Rig, problem_of

PATHS = [
    "/api/v1/incidents", "/api/v1/incidents/inc_1", "/api/v1/runs", "/api/v1/runs/run_1", "/api/v1/runs/run_1/explain",
    "/api/v1/remediations", "/api/v1/policies", "/api/v1/budgets", "/api/v1/schedules", "/api/v1/trust", "/api/v1/audit",
]  # fmt: skip


async def fire(rig: Rig, *names: str) -> list[str]:
    """One incident for each name; their ids in order."""
    found = []
    for name in names:
        labels = {"alertname": name, "namespace": "rag7", "deployment": "langgraph", "severity": "critical"}
        alert = {
            "status": "firing",
            "labels": labels,
            "annotations": {"summary": "s"},
            "startsAt": "2026-03-04T10:15:22Z",
        }
        body = json.dumps({"version": "4", "alerts": [alert]}).encode()
        receipt = await rig.store.ingest(alertmanager.parse(body, received_at=NOW, sender="am"))
        found.append(receipt.incident_ids[0])
    return found


async def request_run(
    rig: Rig, incident_id: str, n: int = 1, target: str = "rag7/Deployment/langgraph"
) -> str:
    """A requested run of the incident with one step."""
    run_id = runs.run_id_for(incident_id, n)
    step = Step("roll-back", "a deployment 14 min ago")
    new = NewRun(run_id, incident_id, "rule", "high-error-rate", Mode.AUTO, target, step)

    def write(tx: Any) -> None:
        runs.request(tx, new)
        work.put_decision(tx, f"dec_{run_id}", incident_id, run_id, {"verdict": "allow"})
        work.begin_entry(tx, run_id, "0.0", {"kind": "roll-back"})

    await rig.store.write(write)
    return run_id


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("scopes", "status", "code"), [((), 401, "not_authenticated"), (("operate",), 403, "scope_missing")]
)
async def test_reading_needs_the_scope_read(
    rig: Rig, path: str, scopes: tuple[str, ...], status: int, code: str
) -> None:
    async with rig.client(*scopes) as client:
        problem_of(await client.get(path), status, code)


async def test_incidents_are_listed_newest_first_page_by_page(rig: Rig) -> None:
    ids = await fire(rig, *(f"Alert{i}" for i in range(5)))
    seen: list[str] = []
    cursor = ""
    async with rig.client("read") as client:
        for _ in range(3):
            page = (await client.get("/api/v1/incidents", params={"limit": 2, "cursor": cursor})).json()
            seen += [item["id"] for item in page["items"]]
            cursor = page["next"] or ""
    assert seen == ids[::-1]
    assert cursor == ""


async def test_an_incident_in_a_list_has_the_documented_fields(rig: Rig) -> None:
    [incident_id] = await fire(rig, "HighErrorRate")
    async with rig.client("read") as client:
        [item] = (await client.get("/api/v1/incidents")).json()["items"]
    title = item.pop("title")
    assert isinstance(title, str)
    assert item == {
        "id": incident_id, "state": "open", "alertname": "HighErrorRate", "namespace": "rag7", "severity": "critical",
        "target": None, "opened_at": "2026-03-04T10:16:00Z", "updated_at": "2026-03-04T10:16:00Z", "closed_at": None,
        "merged_into": None, "order": None,
    }  # fmt: skip


async def test_incidents_are_filtered_by_state(rig: Rig) -> None:
    one, two = await fire(rig, "A", "B")
    await rig.store.write(lambda tx: incidents.move(tx, one, IncidentState.REFUSED))
    async with rig.client("read") as client:
        listed = {
            state: [
                i["id"]
                for i in (await client.get("/api/v1/incidents", params={"state": state})).json()["items"]
            ]
            for state in ("open", "refused", "fixed")
        }
    assert listed == {"open": [two], "refused": [one], "fixed": []}


async def test_one_incident_comes_with_alerts_decisions_and_runs(rig: Rig) -> None:
    [incident_id] = await fire(rig, "HighErrorRate")
    run_id = await request_run(rig, incident_id)
    async with rig.client("read") as client:
        body = (await client.get(f"/api/v1/incidents/{incident_id}")).json()
    [alert] = body["alerts"]
    assert (alert["status"], alert["source"], alert["seen"]) == ("firing", "alertmanager", 1)
    assert alert["labels"]["deployment"] == "langgraph"
    assert [d["body"]["verdict"] for d in body["decisions"]] == ["allow"]
    assert [r["id"] for r in body["runs"]] == [run_id]


async def test_an_ordered_incident_shows_its_order(rig: Rig) -> None:
    request = ManualRequest(
        "high-error-rate", "rag7/Deployment/langgraph", {"scale_to": 5}, "drill", "robin", dry_run=True
    )
    receipt = await rig.store.ingest(Delivery(Source.MANUAL, NOW, "robin", manual=request))
    async with rig.client("read") as client:
        body = (await client.get(f"/api/v1/incidents/{receipt.incident_ids[0]}")).json()
    assert body["order"] == {
        "remediation": "high-error-rate", "target": "rag7/Deployment/langgraph", "params": {"scale_to": 5},
        "reason": "drill", "requested_by": "robin", "dry_run": True,
    }  # fmt: skip


async def test_runs_are_listed_and_filtered(rig: Rig) -> None:
    one, two = await fire(rig, "A", "B")
    first = await request_run(rig, one)
    await rig.store.write(lambda tx: runs.move(tx, first, RunState.FIXED))
    second = await request_run(rig, two)
    async with rig.client("read") as client:

        async def ids(**params: str) -> list[str]:
            return [r["id"] for r in (await client.get("/api/v1/runs", params=params)).json()["items"]]

        assert await ids() == [second, first]
        assert await ids(incident=one) == [first]
        assert await ids(state="requested") == [second]
        assert await ids(limit="1") == [second]


async def test_one_run_comes_with_plan_and_steps(rig: Rig) -> None:
    [incident_id] = await fire(rig, "A")
    run_id = await request_run(rig, incident_id)
    async with rig.client("read") as client:
        body = (await client.get(f"/api/v1/runs/{run_id}")).json()
    assert (body["incident"], body["state"], body["step"], body["mode"]) == (
        incident_id,
        "requested",
        "roll-back",
        "auto",
    )
    assert body["plan"]["why"] == "a deployment 14 min ago"
    [step] = body["steps"]
    assert (step["name"], step["intent"], step["outcome"]) == ("0.0", {"kind": "roll-back"}, None)


async def test_explain_is_passed_on(rig: Rig) -> None:
    async with rig.client("read") as client:
        assert (await client.get("/api/v1/runs/run_1/explain")).json() == {"order": "explain"}
        problem_of(await client.get("/api/v1/runs/run_unknown/explain"), 404, "not_found")


@pytest.mark.parametrize("path", ["/api/v1/incidents/inc_none", "/api/v1/runs/run_none"])
async def test_what_is_not_there_is_404(rig: Rig, path: str) -> None:
    async with rig.client("read") as client:
        problem_of(await client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    "path",
    ["/api/v1/remediations", "/api/v1/policies", "/api/v1/budgets", "/api/v1/schedules", "/api/v1/trust"],
)
async def test_short_lists_are_paged_like_all_others(rig: Rig, path: str) -> None:
    async with rig.client("read") as client:
        first = (await client.get(path, params={"limit": 2})).json()
        last = (await client.get(path, params={"limit": 2, "cursor": first["next"]})).json()
    assert [i["name"] for i in first["items"]] == ["n0", "n1"]
    assert last == {"items": [{"name": "n2"}], "next": None}


async def test_the_audit_trail_is_listed_oldest_first(rig: Rig) -> None:
    await fire(rig, "A", "B")
    seqs: list[int] = []
    async with rig.client("read") as client:
        cursor: str | None = ""
        while cursor is not None:
            page = (await client.get("/api/v1/audit", params={"limit": 1, "cursor": cursor})).json()
            seqs += [item["seq"] for item in page["items"]]
            cursor = page["next"]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) == 4  # fired and opened, twice


async def test_the_audit_trail_is_searched_a_bounded_stretch_at_a_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever follows `next` has all that fits, however far apart it is; a page in between may be empty."""
    monkeypatch.setattr(records, "LOOKED_AT", 3)
    monkeypatch.setattr(records, "_CLOCKS", timedelta(0))
    ids = await fire(rig, *(f"Alert{i}" for i in range(6)))
    whole = await rig.store.read(lambda conn: audit.page(conn, 0, 100))
    searches = {
        "kind=incident.opened": [e.seq for e in whole if e.kind is EventKind.INCIDENT_OPENED],
        f"incident={ids[5]}": [e.seq for e in whole if e.incident_id == ids[5]],
        "words=alert3": [e.seq for e in whole if "Alert3" in canonical(e.data)],
        "since=2026-03-04T10:16:00Z": [e.seq for e in whole],
        "since=2026-03-04T10:16:01Z": [],
        "until=2026-03-04T10:16:00Z": [],
        "actor=nobody": [],
        "target=rag7/Deployment/langgraph": [],
    }
    async with rig.client("read") as client:
        for search, wanted in searches.items():
            seqs: list[int] = []
            cursor: str | None = ""
            while cursor is not None:
                page = (await client.get(f"/api/v1/audit?{search}&limit=2&cursor={cursor}")).json()
                seqs += [item["seq"] for item in page["items"]]
                cursor = page["next"]
            assert seqs == wanted, search
    assert searches["words=alert3"]


INVALID = [
    ("/api/v1/audit?kind=odd", "invalid_parameter", "/query/kind"),
    ("/api/v1/audit?since=yesterday", "invalid_parameter", "/query/since"),
    ("/api/v1/audit?until=2026-03-04", "invalid_parameter", "/query/until"),
    ("/api/v1/audit?words=a+b+c+d+e+f+g+h+i", "invalid_parameter", "/query/words"),
    ("/api/v1/incidents?limit=0", "invalid_parameter", "/query/limit"),
    ("/api/v1/incidents?limit=201", "invalid_parameter", "/query/limit"),
    ("/api/v1/incidents?limit=many", "invalid_parameter", "/query/limit"),
    ("/api/v1/incidents?state=happy", "invalid_parameter", "/query/state"),
    ("/api/v1/incidents?cursor=%F0%9F%92%A9", "bad_cursor", "/query/cursor"),
    ("/api/v1/incidents?cursor=" + "a" * 257, "invalid_parameter", "/query/cursor"),
    ("/api/v1/audit?cursor=" + encode("inc_1"), "bad_cursor", "/query/cursor"),
    ("/api/v1/incidents/inc_1/alerts?cursor=" + encode("3"), "bad_cursor", "/query/cursor"),
    (
        "/api/v1/incidents/inc_1/alerts?cursor=" + encode("20260304T101522.000000Z/alertmanager/a\0"),
        "bad_cursor",
        "/query/cursor",
    ),
    ("/api/v1/runs?incident=a%00b", "invalid_parameter", "/query/incident"),
    ("/api/v1/runs/a%00b", "invalid_parameter", "/path/run_id"),
    ("/api/v1/incidents/" + "a" * 65, "invalid_parameter", "/path/incident_id"),
]


@pytest.mark.parametrize(("path", "code", "where"), INVALID)
async def test_a_parameter_that_does_not_fit_is_named(rig: Rig, path: str, code: str, where: str) -> None:
    async with rig.client("read") as client:
        assert problem_of(await client.get(path), 422, code)["where"] == where


async def test_a_parameter_that_no_route_knows_is_refused_everywhere(rig: Rig) -> None:
    """`?stat=waiting` would answer everything, and of a filter given twice half."""
    async with rig.client(*ALL) as client:
        routes = [
            (method, path.format(run_id="run_1", incident_id="inc_1"))
            for path, methods in rig.app.openapi()["paths"].items()
            for method in methods
            if path.startswith("/api/v1/")
        ]
        assert len(routes) > 20
        for method, path in routes:
            answer = await client.request(method, f"{path}?stat~/=waiting")
            assert problem_of(answer, 422, "unknown_parameter")["where"] == "/query/stat~0~1", path
        allowed = problem_of(await client.get("/api/v1/runs?stat=waiting"), 422, "unknown_parameter")[
            "detail"
        ]
        twice = problem_of(
            await client.get("/api/v1/runs?state=fixed&state=stuck"), 422, "repeated_parameter"
        )
    assert "cursor, incident, limit, state" in allowed
    assert twice["where"] == "/query/state"
    assert rig.orders.asked == [], "an order with a parameter that is none is not carried out"


async def test_only_who_may_ask_is_told_what_is_known(rig: Rig) -> None:
    async with rig.client() as client:
        problem_of(await client.get("/api/v1/runs?stat=waiting"), 401, "not_authenticated")


class LostStore:
    """A store whose database is gone."""

    async def read(self, _fn: Any) -> Any:
        raise StoreUnavailable("the store could not be read")


async def test_a_lost_database_is_503(rig: Rig) -> None:
    async with rig.with_store(LostStore()).client("read") as client:
        problem_of(await client.get("/api/v1/incidents"), 503, "store_unavailable")


async def test_reading_is_open_to_local_callers_only_when_nothing_is_configured(open_rig: Rig) -> None:
    async with open_rig.client() as client:
        assert (await client.get("/api/v1/incidents")).status_code == 200
    async with open_rig.client(host="rebound.example") as client:
        problem_of(await client.get("/api/v1/incidents"), 403, "host_refused")


@pytest.mark.parametrize("host", ["localhost:8080", "localhost", "127.0.0.1", "127.9.9.9:1", "[::1]:8080"])
async def test_every_name_of_this_machine_is_local(open_rig: Rig, host: str) -> None:
    async with open_rig.client(host=host) as client:
        assert (await client.get("/api/v1/incidents")).status_code == 200


async def test_no_answer_has_a_character_of_a_stranger_that_moves_what_is_printed(rig: Rig) -> None:
    odd = "a\u202eb\x9b31m\x7f\u3164\U000e0041"
    await fire(rig, odd)
    async with rig.client("read") as client:
        answer = await client.get("/api/v1/incidents")
        refused = await client.get(f"/api/v1/incidents?cursor={quote(odd)}")
    assert odd in json.dumps(answer.json(), ensure_ascii=False)
    assert refused.status_code == 422
    for text in (answer.text, refused.text):
        assert CONTROL.search(text) is None
