"""The pages of procedures and of the policy: what can be ordered and by whom, and which rule an alert would meet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest

from app.domain.decision import Mode
from app.domain.outcome import RunState
from app.domain.target import Kind
from app.flow.readiness.access import AccessCheck
from app.flow.upkeep.views import parameters
from app.policy.decide import GATE_NAMES
from app.policy.matchers import parse_when
from app.policy.model import Window
from app.policy.ordered import orderable
from app.store import incidents, people
from tests.orders import orders_world
from tests.scenario.rig import POLICIES, Rig
from tests.scenario.scenes import all_runs, writes
from tests.scenario.web import app_of
from tests.unit.page.browser import Browser, access, filled
from tests.unit.page.html import Element
from tests.unit.page.test_pages import expect_sound

SCALE = "/procedures/scale"


@pytest.fixture
async def orders(tmp_path: Path) -> AsyncIterator[Rig]:
    """A service with the shipped policy in the world in which every procedure has something to do."""
    made = await Rig(tmp_path / "rig.sqlite", world=orders_world()).born()
    yield made
    await made.close()


@pytest.fixture
async def visitor(orders: Rig) -> AsyncIterator[Browser]:
    """A browser that is not logged in."""
    made = Browser(app_of(orders, access()))
    yield made
    await made.close()


def wish(form: Element, **fields: str) -> dict[str, str]:
    """The form of `scale` filled in for the deployment langgraph."""
    return filled(form, namespace="rag7", kind="Deployment", name="langgraph", reason="rush hour", **fields)


async def stored(rig: Rig) -> list[incidents.Incident]:
    return await rig.store.read(lambda conn: incidents.page(conn, "", 10, None))


async def test_everything_of_the_catalogue_can_be_looked_at_with_its_parameters(
    orders: Rig, visitor: Browser
) -> None:
    await visitor.login("reader")
    listed = await visitor.get("/procedures")
    expect_sound(listed)
    names = [a.text for a in listed.document.all("a") if a.get("href").startswith("/procedures/")]
    assert sorted(names) == sorted(orders.services.catalogue)
    for name in names:
        page = await visitor.get(f"/procedures/{name}")
        expect_sound(page)
        for field in orders.services.catalogue[name].params.model_fields:
            assert field in page.text
        assert "needs a token with the scope trigger" in page.text
    assert (await visitor.get("/procedures/no-such")).status == 404


async def test_the_whole_form_of_each_procedure_can_be_sent(orders: Rig, visitor: Browser) -> None:
    """As a browser sends it: every field, also those that are left as they are."""
    await visitor.login("carol")
    for name, remediation in orders.services.catalogue.items():
        if remediation.procedure is None:
            continue
        form = (await visitor.get(f"/procedures/{name}")).form(f"/procedures/{name}")
        sent = filled(form, namespace="rag7", kind="Deployment", name="langgraph", reason="rush hour")
        answer = await visitor.post(f"/procedures/{name}", sent)
        assert "not a form of this page" not in answer.text, (name, len(sent))
        assert answer.status in (200, 303) or "params." in answer.text, (
            name,
            answer.status,
            answer.text[:2000],
        )


async def test_a_form_begins_as_a_dry_run_and_its_order_changes_nothing(
    orders: Rig, visitor: Browser
) -> None:
    await visitor.login("carol")
    page = await visitor.get(SCALE)
    expect_sound(page)
    answer = await visitor.post(SCALE, wish(page.form(SCALE), **{"param-replicas": "5"}))
    (incident,) = await stored(orders)
    assert (answer.status, answer.path) == (200, f"/incidents/{incident.id}")
    assert incident.manual is not None
    assert (incident.manual.dry_run, incident.manual.params) == (True, {"replicas": 5})
    assert (incident.manual.requested_by, incident.manual.reason) == ("carol", "rush hour")
    await orders.run(120, alerts=False)
    assert [m for m in orders.cluster.mutations if not m.dry_run] == []


async def test_an_order_acts_once_however_often_its_form_is_sent(orders: Rig, visitor: Browser) -> None:
    await visitor.login("carol")
    data = wish((await visitor.get(SCALE)).form(SCALE), **{"param-replicas": "5"})
    del data["dry_run"]
    for _ in range(3):
        await visitor.post(SCALE, data)
    assert len(await stored(orders)) == 1
    await orders.run(240, alerts=False)
    assert len([m for m in orders.cluster.mutations if m.verb == "patch" and not m.dry_run]) == 1


async def test_who_may_only_order_has_to_wait_for_somebody_else(orders: Rig, visitor: Browser) -> None:
    await visitor.login("dave")
    data = wish((await visitor.get(SCALE)).form(SCALE), **{"param-replicas": "5"})
    del data["dry_run"]
    await visitor.post(SCALE, data)
    await orders.run(60, alerts=False)
    assert [r.state for r in await all_runs(orders)] == [RunState.WAITING]


@pytest.mark.parametrize(
    ("fields", "code", "place"),
    [
        ({"param-replicas": "many"}, "bad_params", "replicas"),
        ({"param-replicas": ""}, "param_missing", "replicas"),
        ({"param-replicas": "5", "name": "no-such"}, "no_such_target", "name"),
        ({"param-replicas": "5", "name": "../secrets"}, "invalid_field", "name"),
        ({"param-replicas": "5", "kind": "Secret"}, "invalid_field", "kind"),
        ({"param-replicas": "5", "reason": " "}, "no_reason", "reason"),
    ],
)
async def test_a_form_that_does_not_fit_is_refused_with_the_place(
    orders: Rig, visitor: Browser, fields: dict[str, str], code: str, place: str
) -> None:
    await visitor.login("carol")
    answer = await visitor.post(SCALE, {**wish((await visitor.get(SCALE)).form(SCALE)), **fields})
    assert answer.document.one("code").text == code
    assert place in answer.text
    assert await stored(orders) == []


async def test_a_refused_form_keeps_what_was_typed_and_can_be_sent_again(
    orders: Rig, visitor: Browser
) -> None:
    await visitor.login("carol")
    typed = wish((await visitor.get(SCALE)).form(SCALE), **{"param-replicas": '"><b>many'})
    typed |= {"kind": "StatefulSet"}
    del typed["dry_run"]
    refused = await visitor.post(SCALE, typed)
    expect_sound(refused)
    assert refused.status == 422
    form = refused.form(SCALE)
    assert filled(form) == {**typed, "once": form.one(name="once").get("value")}
    corrected = filled(form, kind="Deployment", **{"param-replicas": "5"})
    answer = await visitor.post(SCALE, corrected)
    (incident,) = await stored(orders)
    assert answer.path == f"/incidents/{incident.id}"
    assert incident.manual is not None
    assert incident.manual.params == {"replicas": 5}


async def test_what_has_few_values_is_a_choice_and_what_is_not_chosen_is_left_to_the_rule(
    orders: Rig, visitor: Browser
) -> None:
    """Of every remediation: booleans and enumerations."""
    await visitor.login("carol")
    fewer = 0
    for name, entry in orders.services.catalogue.items():
        page = await visitor.get(f"/procedures/{name}")
        expect_sound(page)
        form = page.form(f"/procedures/{name}")
        for one in parameters(entry.params, orderable(orders.services.policy(), entry)):
            if not one["ordered"]:  # the rule's alone: it is told, and no field of the form
                assert form.all(id=f"param-{one['name']}") == []
                assert one["name"] in page.text
                continue
            element = form.one(id=f"param-{one['name']}")
            if not one["type"].startswith(("boolean", "one of")):
                assert element.tag == "input", one
                continue
            fewer += 1
            values = [option.get("value") for option in element.all("option")]
            if one["type"] == "boolean":
                assert values == ["", "true", "false"]
            else:
                assert f"one of {', '.join(values[1:])}" == one["type"]
            assert [o for o in element.all("option") if "selected" in o.attrs] == []
    assert fewer > 5


async def test_a_choice_is_ordered_as_a_value_of_its_type(orders: Rig, visitor: Browser) -> None:
    await visitor.login("carol")
    path = "/procedures/deploy"
    form = (await visitor.get(path)).form(path)
    data = wish(form, **{"param-image": ":1.6", "param-moving_tag": "true"})
    await visitor.post(path, data)
    (incident,) = await stored(orders)
    assert incident.manual is not None
    assert incident.manual.params == {"image": ":1.6", "moving_tag": True}


async def test_whoever_may_not_order_has_no_form_and_is_refused_with_one(
    orders: Rig, visitor: Browser
) -> None:
    await visitor.login("carol")
    data = wish((await visitor.get(SCALE)).form(SCALE), **{"param-replicas": "5"})
    await visitor.login("alice")
    page = await visitor.get("/")
    data["form"] = filled(page.form("/logout"))["form"]
    assert (await visitor.post(SCALE, data)).document.one("code").text == "scope_missing"
    assert await stored(orders) == []


async def test_the_policy_shows_its_rules_in_the_order_in_which_they_are_tried(
    orders: Rig, visitor: Browser
) -> None:
    await visitor.login("reader")
    page = await visitor.get("/policy")
    expect_sound(page)
    firsts = [row.all("td")[0] for row in page.document.all("tr") if row.get("id").startswith("rule-")]
    shown = [first.all("bdi")[0].text for first in firsts]
    assert shown == [rule.name for rule in orders.policy.rules]
    assert orders.policy.version in page.text


async def test_each_rule_in_force_is_shown_with_its_file_and_line(orders: Rig, visitor: Browser) -> None:
    await visitor.login("reader")
    page = await visitor.get("/policy")
    firsts = [row.all("td")[0] for row in page.document.all("tr") if row.get("id").startswith("rule-")]
    assert firsts
    for first in firsts:
        name, place = [one.text for one in first.all("bdi")]
        file, _, line = place.partition(":")
        assert f"name: {name}" in (POLICIES / file).read_text().splitlines()[int(line) - 1]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (
            "alertname=HighErrorRate, severity=critical, namespace=rag7, deployment=langgraph",
            ("errors after a deployment", "rag7/Deployment/langgraph", 'name by label "deployment"'),
        ),
        ("alertname=Unheard", ("No rule matches",)),
        ("alertname=HighErrorRate, severity=critical, namespace=RAG", ("none:", "cannot be the namespace")),
    ],
)
async def test_what_if_an_alert_came_names_the_rule_and_the_target(
    visitor: Browser, labels: str, expected: tuple[str, ...]
) -> None:
    await visitor.login("reader")
    page = await visitor.http.get("/policy", params={"labels": labels})
    for text in expected:
        assert text in page.text.replace("&#34;", '"')


ASKED = "alertname=HighErrorRate, severity=critical, deployment=langgraph"


async def _judged(visitor: Browser, labels: str) -> tuple[str, dict[str, str], str]:
    """The word, each gate's answer, and the list of what only the moment can tell."""
    await visitor.login("reader")
    page = await visitor.get("/policy?" + urlencode({"labels": labels}))
    expect_sound(page)
    part = page.document.one("section", **{"aria-labelledby": "if-title"})
    rows = [row.all("td") for row in part.all("tr") if row.all("td")]
    later = " ".join(one.text for one in part.all("ul"))
    return part.one(role="status").text, {row[1].text: row[0].text for row in rows}, later


async def test_what_if_an_alert_came_tells_the_decision_and_every_gate_that_needs_no_cluster(
    orders: Rig, visitor: Browser
) -> None:
    word, told, later = await _judged(visitor, f"{ASKED}, namespace=rag7")
    assert word == "Nothing known stands against it: 12 of 17 gates allow it; 5 can only be told at the time"
    for gate in GATE_NAMES:
        assert (gate in told) != (f"{gate}: " in later), gate
    assert {"kill switch", "window", "cooldown", "rate limit", "budget", "storm", "trust", "approval"} <= set(
        told
    )
    assert "new pods: whether a new pod could start" in later
    assert writes(orders) == []


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        ("other", "Not acting: scope: namespace other (allowed: namespaces rag7)"),
        ("kube-system", "Not acting: scope: namespace kube-system is protected"),
    ],
)
async def test_what_if_an_alert_came_from_outside_says_that_nothing_is_done(
    visitor: Browser, namespace: str, expected: str
) -> None:
    word, told, _ = await _judged(visitor, f"{ASKED}, namespace={namespace}")
    assert word.startswith(expected)
    assert told["scope"] == "NO"


async def test_what_if_an_alert_came_during_a_pause_a_freeze_or_under_a_ceiling_says_so(
    orders: Rig, visitor: Browser
) -> None:
    asked = f"{ASKED}, namespace=rag7"
    await orders.store.write(lambda tx: people.pause(tx, "namespace:rag7", "upgrade", "ana"))
    word, _, _ = await _judged(visitor, asked)
    assert word.startswith("Not acting: kill switch: namespace:rag7 paused by ana: upgrade")
    await orders.store.write(lambda tx: people.lift_pause(tx, "namespace:rag7", "ana"))
    orders.policy = orders.policy.model_copy(update={"mode": Mode.OBSERVE})
    word, _, _ = await _judged(visitor, asked)
    assert word.startswith("Only observing: kill switch: the policy is set to observe")
    always = Window(name="always", timezone=ZoneInfo("UTC"))
    orders.policy = orders.policy.model_copy(update={"mode": Mode.AUTO, "freeze": (always,)})
    word, _, _ = await _judged(visitor, asked)
    assert word.startswith("Not acting: window: frozen: always")


async def test_what_if_an_alert_came_tells_a_right_that_is_missing_in_the_words_of_the_real_decision(
    orders: Rig, visitor: Browser
) -> None:
    orders.cluster.deny("patch", Kind.HPA)
    orders.services.rights.current = check = AccessCheck(orders.services)
    word, _, _ = await _judged(visitor, f"{ASKED}, namespace=rag7")
    assert word.startswith("A person is needed: Grant patch horizontalpodautoscalers in namespace rag7")
    await check.look()
    reviewed = set(check.missing)
    orders.policy = orders.policy.model_copy(
        update={"scope": orders.policy.scope.model_copy(update={"namespaces": ("rag7", "team-*")})}
    )
    word, _, _ = await _judged(visitor, f"{ASKED}, namespace=team-x")
    assert "in namespace team-x" in word
    check._reviewed = None  # the next look reviews anew
    await check.look()
    assert set(check.missing) == reviewed, "what was only asked about is not reviewed from then on"


class _Quiet:
    """An Alertmanager in which nothing fires."""

    async def firing_matching(self, _: object) -> list[object]:
        return []


@pytest.mark.parametrize("asked", [False, True])
async def test_what_if_an_alert_came_whose_blocking_alerts_nobody_can_ask_for_is_denied_as_it_really_is(
    orders: Rig, visitor: Browser, asked: bool
) -> None:
    """Certain, and no matter of the moment: the same facts deny each time."""
    blocked = parse_when('alertname="KubeAPIDown"')
    rules = tuple(rule.model_copy(update={"blocked_by": (blocked,)}) for rule in orders.policy.rules)
    orders.policy = orders.policy.model_copy(update={"rules": rules})
    object.__setattr__(orders.services, "firing_alerts", _Quiet() if asked else None)
    word, told, later = await _judged(visitor, f"{ASKED}, namespace=rag7")
    assert "blocking alerts: " not in later
    assert told["blocking alerts"] == ("ok" if asked else "NO")
    assert word.startswith(
        "Nothing known stands" if asked else "Not acting: blocking alerts: firing alerts unknown"
    )


async def test_labels_that_are_none_are_refused_with_the_reason(visitor: Browser) -> None:
    """In place, beside what was typed."""
    await visitor.login("reader")
    page = await visitor.get("/policy?" + urlencode({"labels": "alertname=~High.*"}))
    expect_sound(page)
    assert page.status == 422
    assert page.document.one(role="alert").text.startswith("These are no labels: ")
    assert page.document.one(id="labels").get("value") == "alertname=~High.*"
