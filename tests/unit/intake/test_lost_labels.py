"""Finding C2: what of a PagerDuty incident's alerts can be taken as labels, and that what is lost is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.domain.alert import Alert, AlertStatus, Source
from app.domain.subject import UNREAD, unread
from app.intake.pagerduty import enriched
from tests.unit.intake.test_pagerduty import FIRING, NOW, WANTED, alerts_json

PAY = {"namespace": "payments", "deployment": "checkout"}
CART = {"namespace": "shop", "deployment": "cart"}
HEADED = "{head}\n- alertname: A\n- namespace: payments\n- deployment: checkout\n"
TEXT = FIRING.format(pod="a")


@pytest.mark.parametrize(
    ("details", "labels", "lost"),
    [
        # taken, under the name that Prometheus would give it
        ({"k8s.namespace.name": "payments"}, {"k8s_namespace_name": "payments"}, ()),
        ({"kube-namespace": "payments", "Deployment Name": "x"}, {"kube_namespace": "payments", "Deployment_Name": "x"}, ()),
        ({"firing": "Labels:\n - k8s.pod.name = web-0\n"}, {"k8s_pod_name": "web-0"}, ()),
        ({"firing": HEADED.format(head="**Labels**")}, {**PAY, "alertname": "A"}, ()),
        ({"kubernetes": PAY}, PAY, ()),
        ({"tags": "kube_namespace:payments,kube_deployment:checkout"}, {"kube_namespace": "payments", "kube_deployment": "checkout"}, ()),
        ({"tags": ["kube_namespace:payments", "env:a:b"]}, {"kube_namespace": "payments", "env": "a:b"}, ()),
        ({"namespace": ["payments"], "details": json.dumps(PAY)}, PAY, ()),
        ({**{f"l{n:02}": "x" for n in range(62)}, **PAY}, {**{f"l{n:02}": "x" for n in range(62)}, **PAY}, ()),
        # lost: said by its name
        ({"firing": "two alerts fire"}, {}, ("alerts that fire",)),
        ({"firing": TEXT, "num_firing": "2"}, {**WANTED, "alertname": "HighErrorRate", "pod": "a", "severity": "critical"}, ("alerts that fire",)),
        ({"firing": [{"labels": PAY}, {"labels": CART}]}, {}, ("namespace", "deployment")),
        ({"firing": [{"labels": PAY}, {}]}, {}, ("namespace", "deployment", "an alert without labels")),
        ({"namespace": "", "deployment": None, "severity": None}, {}, ("namespace", "deployment")),
        ({"namespace": ["payments", "shop"], "other": {"pod": "a"}, "links": []}, {}, ("namespace", "other")),
        ({"namespace": "shop", "labels": PAY}, {"namespace": "shop", "deployment": "checkout"}, ("namespace",)),
        ({"tags": ["kube_deployment:checkout", "kube_deployment:cart", "plain"]}, {}, ("kube_deployment", "plain")),
        ({"x": "y" * 2_000, "severity": "z" * 2_000}, {}, ("x",)),
        ({"a.b": "1", "a_b": "x"}, {"a_b": "1"}, ("a_b",)),
        ({**{f"l{n:02}": "x" for n in range(70)}, **PAY}, {**{f"l{n:02}": "x" for n in range(62)}, **PAY}, ("8 more",)),
    ],
)  # fmt: skip
def test_what_can_be_taken_is_and_what_is_lost_is_named(
    details: dict[str, Any], labels: dict[str, str], lost: tuple[str, ...]
) -> None:
    before = Alert(Source.PAGERDUTY, "Q1", AlertStatus.FIRING, NOW, {})
    assert enriched(before, alerts_json(details)).labels == labels | ({UNREAD: unread(lost)} if lost else {})


@pytest.mark.parametrize(
    ("body", "labels", "lost"),
    [
        (alerts_json(PAY, CART), {}, ("namespace", "deployment")),
        (alerts_json({**PAY, "severity": "a"}, {**PAY, "severity": "b"}), PAY, ()),
        ({"alerts": [*alerts_json(PAY)["alerts"], {"body": None}]}, {}, ("namespace", "deployment", "the details of an alert")),
        ({"alerts": []}, {}, ("an alert of the incident",)),
        ({"alerts": None}, {}, ("an alert of the incident",)),
        ({}, {}, ("an alert of the incident",)),
        ({"alerts": [*alerts_json(PAY)["alerts"], 1]}, PAY, ("an alert of the incident",)),
        (alerts_json(None), {}, ("the details of an alert",)),
        (alerts_json({}), {}, ("the details of an alert",)),
        (
            {"alerts": [{"body": {"cef_details": {"source_component": "checkout", "source_origin": "payments", "service_group": None}}}]},
            {"pagerduty_component": "checkout", "pagerduty_source": "payments"},
            (),
        ),
        ({"alerts": [{"body": {"cef_details": {"source_origin": "Alertmanager", "details": PAY}}}]}, PAY, ()),
    ],
)  # fmt: skip
def test_what_the_alerts_of_an_incident_do_not_share_is_lost(
    body: dict[str, Any], labels: dict[str, str], lost: tuple[str, ...]
) -> None:
    before = Alert(Source.PAGERDUTY, "Q1", AlertStatus.FIRING, NOW, {})
    assert enriched(before, body).labels == labels | ({UNREAD: unread(lost)} if lost else {})
