"""Fuzz targets of answers: what the API server, Alertmanager, Prometheus and PagerDuty say, and texts inside of objects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import httpx

from app.domain.errors import BadInput, ProbeUnavailable, RemediatorError
from app.domain.target import Kind, Target
from app.kube import parse
from app.kube.faults import Answer, Request, refusal
from app.kube.owners import managers_of, who_changed
from app.kube.rollout import rollout_status
from app.notify.text import line, mrkdwn
from app.observe.alertmanager import Alertmanager
from app.observe.pagerduty_rest import PagerDutyRest
from app.observe.prometheus import Prometheus
from app.store.connection import to_text
from remediations.evidence.happenings import _row
from remediations.evidence.pods import pods_finding, troubles
from tests.fuzz.bodies import _BARE, JSON_WORDS, NOW
from tests.fuzz.target import FuzzTarget, parts_of, text_of
from tests.unit.web.rig import StillClock

_LOOP = asyncio.new_event_loop()


class _Clock(StillClock):
    async def sleep(self, seconds: float) -> None:
        """No time passes."""


def _client(data: bytes) -> httpx.AsyncClient:
    status, body = parts_of(data, 2)
    code = int(status) if status.isdigit() and len(status) == 3 and 200 <= int(status) < 600 else 200
    return httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(code, content=body)))


def _ask(question: Coroutine[Any, Any, Any]) -> None:
    """An answer, or the one error that says that there is none."""
    try:
        _LOOP.run_until_complete(question)
    except ProbeUnavailable as error:
        assert len(error.message) < 400
        error.message.encode("utf-8", "replace")


def _alertmanager(data: bytes) -> None:
    client = _client(data)
    source = Alertmanager(client, "http://am.test", _Clock())
    for report in _LOOP.run_until_complete(source.states([_BARE])):
        to_text(report.text)
    _ask(source.firing_matching(['a="b"']))
    _ask(source._silence("id"))


def _prometheus(data: bytes) -> None:
    source = Prometheus(_client(data), "http://prom.test", _Clock())
    _ask(source.instant("up"))
    _ask(source.window("up", NOW - timedelta(hours=1), NOW, 60))


def _pagerduty(data: bytes) -> None:
    source = PagerDutyRest(_client(data), "http://pd.test", "token", _Clock())
    _ask(source.incident_alerts("PGR0VU2"))
    _ask(source.incident_status("PGR0VU2"))


def _refusal(data: bytes) -> None:
    """A Status object, or whatever a proxy in between says in its place."""
    code, body = parts_of(data, 2)
    try:
        decoded: Any = json.loads(body)
    except (ValueError, RecursionError):
        return
    if not isinstance(decoded, dict):
        return
    status = int(code) if code.isdigit() and len(code) == 3 else 422
    for verb in ("patch", "get"):
        error = refusal(
            Request(verb, "deployments.apps", "rag7/x", mutates=verb == "patch"), Answer(status, decoded)
        )
        assert isinstance(error, RemediatorError)
        assert len(error.message) <= 400


def _objects(data: bytes) -> None:
    """Texts that anybody who may write an object, a log or an event puts into it."""
    one, two, three, four = map(text_of, parts_of(data, 4))
    meta = {
        "name": "x", "namespace": "rag7", "uid": "u", "creationTimestamp": "2026-03-04T10:00:00Z",
        "annotations": {parse.REVISION: one, parse.REVISION_HISTORY: two, parse.CHANGE_CAUSE: three, three: one,
                        parse.RESTARTED_AT: four},
        "labels": {"app": one, two: three, parse.TEMPLATE_HASH: two},
        "managedFields": [{"manager": one, "fieldsV1": {"f:spec": {two: {}}}}, {"manager": two, "time": None}],
    }  # fmt: skip
    spec = {
        "containers": [{"name": "app", "image": one, "env": [{"name": two, "value": three}], "args": [four]}]
    }
    template = {"metadata": meta, "spec": spec}
    ended = {"reason": two, "message": three, "exitCode": 1, "finishedAt": "2026-03-04T10:00:00Z"}
    state = {"name": "app", "restartCount": 3, "state": {"waiting": {"reason": one, "message": four}},
             "lastState": {"terminated": ended}}  # fmt: skip
    condition = {"type": "ReplicaFailure", "status": "True", "reason": one, "message": three}
    workload = parse.parse_workload(
        Target("rag7", Kind.DEPLOYMENT, "x"),
        {"metadata": meta, "spec": {"selector": {"matchLabels": {one: two}}, "template": template},
         "status": {"conditions": [condition, {"type": one, "status": two}]}},
    )  # fmt: skip
    texts = [rollout_status(workload).text]
    for number, words in enumerate(((one, two), (two, three), (three, four))):
        pod = parse.parse_pod({"metadata": {**meta, "name": f"p{number}"}, "spec": spec,
                               "status": {"phase": words[0], "containerStatuses": [state],
                                          "conditions": [{"type": "Ready", "status": words[1]}]}})  # fmt: skip
        found = pods_finding(workload, [pod], troubles([pod], NOW))
        texts += [found.text, to_text(found.data)]
    event = parse.parse_event(
        {"metadata": meta, "reason": one, "note": two, "type": three, "regarding": {"name": four}}
    )
    texts.append(_row(event, NOW))
    parse.parse_replica_set({"metadata": meta, "spec": {"template": template}})
    managers_of(workload.manifest, autoscaled=True)
    who_changed(workload.manifest, "/spec/replicas")
    for text in texts:
        mrkdwn(line(text))
        text.encode("utf-8", "replace")


def _usage(data: bytes) -> None:
    """Metrics come from an adapter that is not the API server's own."""
    memory, cpu = map(text_of, parts_of(data, 2))
    try:
        parse.parse_usage(
            {"metadata": {"name": "x"}, "timestamp": "2026-03-04T10:00:00Z",
             "containers": [{"name": "app", "usage": {"memory": memory, "cpu": cpu}}]}
        )  # fmt: skip
    except BadInput as error:
        assert len(error.message) < 400


_LISTED = [
    {"labels": {"alertname": "HighErrorRate"}, "startsAt": "2026-03-04T10:00:00Z",
     "status": {"state": "suppressed", "silencedBy": ["s1"], "inhibitedBy": [], "mutedBy": ["night"]}}
]  # fmt: skip
_SERIES = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {"pod": "x"}, "value": [1.5, "2"]}]},
}
_WINDOW = {
    "status": "success",
    "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "NaN"], [2, "1e3"]]}]},
}
_STATUS = {
    "kind": "Status", "reason": "Invalid", "message": 'Invalid value: "x": must be y',
    "details": {"causes": [{"reason": "DisruptionBudget", "message": "m", "field": "spec"}], "retryAfterSeconds": 3},
}  # fmt: skip


def _answer(value: Any, status: int = 200) -> bytes:
    return f"{status}".encode() + b"\0" + json.dumps(value).encode()


TARGETS = (
    FuzzTarget(
        "alertmanager-answer",
        _alertmanager,
        (_answer(_LISTED), _answer({"createdBy": "a", "endsAt": "2026-03-04T10:00:00Z"}), b"503\0x"),
        (b'"status"', b'"silencedBy"', b'"startsAt"', b"\0", *JSON_WORDS),
    ),
    FuzzTarget("prometheus-answer", _prometheus, (_answer(_SERIES), _answer(_WINDOW), _answer({"error": "e"}, 422)),
               (b'"scalar"', b'"vector"', b'"matrix"', b'"result"', b'"+Inf"', *JSON_WORDS)),
    FuzzTarget("pagerduty-answer", _pagerduty, (_answer({"alerts": [{}]}), _answer({"incident": {"status": "resolved"}}), b"429\0"),
               (b'"incident"', b'"alerts"', *JSON_WORDS)),
    FuzzTarget("kubernetes-refusal", _refusal, (_answer(_STATUS, 422), _answer(_STATUS, 429), _answer({"message": "admission webhook"}, 403)),
               (b'"details"', b'"causes"', b'"message"', b'"retryAfterSeconds"', *JSON_WORDS)),
    FuzzTarget("object-texts", _objects, ((b"3\0" b"1,2\0cause\0args"), b"\xc2\xb2\0\xc2\xb2,1\0CrashLoopBackOff\0x", b"OOMKilled\0Ready\0True\0"),
               (b"\0", b"1" * 5000, b"-1", b"True", b"Warning", b"<!channel>")),
    FuzzTarget("usage", _usage, (b"12Mi\0250m", b"1e99\0-1", b"x\0y"), (b"Ki", b"n", b"\0")),
)  # fmt: skip
