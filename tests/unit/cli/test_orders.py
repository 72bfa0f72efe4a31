"""Orders to a running service; each is a request under the caller's name, decided by the service."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from app.cli.orders import _pair
from app.cli.remote import Remote
from app.domain.errors import BadInput, ProbeUnavailable
from app.domain.events import EventKind
from app.domain.outcome import RunState
from app.store import audit
from tests.unit.cli.shell import Shell
from tests.unit.served import TOKENS, Served, served

ORDER = ("trigger", "high-error-rate", "--target", "rag7/Deployment/redis", "--reason", "a drill")


def test_an_approved_plan_is_carried_out(client: Shell, service: Served) -> None:
    run = service.run(service.incident("HighLatency", "waiting").id, "waiting")
    ended = client.good("approve", run.id)
    assert ended.out == f"run {run.id} approved\n"
    assert service.run(run.incident_id, "verifying", "fixed").answered_by == "tests"


def test_a_rejected_plan_is_not_carried_out_and_a_second_answer_is_refused(
    client: Shell, service: Served
) -> None:
    incident = service.incident("OutOfMemory", "waiting")
    run = service.run(incident.id, "waiting")
    assert client.good("reject", run.id, "--reason", "we raise it by hand", "--json").json["run"] == run.id
    assert service.run(incident.id, "rejected").state is RunState.REJECTED
    assert "we raise it by hand" in client.good("explain", incident.id).out
    again = client("approve", run.id)
    assert (again.code, again.out) == (1, "")
    assert not [m for m in service.cluster.mutations if m.name == "langgraph-embedder" and not m.dry_run]


def test_an_undo_puts_the_old_values_back(shell: Shell, tmp_path: Path) -> None:
    """On a service of its own: others look at the fixed run of the shared one."""
    with served(tmp_path, timelines=("high-error-rate",), tokens=TOKENS) as service:
        client = shell.at(service.url)
        run = service.run(service.incident("HighErrorRate", "fixed").id, "fixed")
        assert client.good("undo", run.id, "--wait", "0").out == f"undo of run {run.id} requested\n"
        assert service.run(run.incident_id, "undone").id == run.id


def test_a_pause_refuses_and_lifting_it_twice_fails(client: Shell) -> None:
    scope = ("--scope", "target:rag7/Deployment/elsewhere")
    assert (
        client.good("pause", *scope, "--reason", "upgrade").out == "paused target:rag7/Deployment/elsewhere\n"
    )
    assert client.good("resume", *scope, "--json").json["scope"] == "target:rag7/Deployment/elsewhere"
    again = client("resume", *scope)
    assert (again.code, again.err) == (
        1,
        "error: target:rag7/Deployment/elsewhere: there is no pause on this scope [not_paused]\n",
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--scope", "everything"), "invalid_field"),
        (("--until", "tomorrow"), "invalid_field"),
        (("--until", "2020-01-01T00:00:00Z"), "bad_until"),
    ],
)
def test_a_pause_that_makes_no_sense_is_a_usage_error(
    client: Shell, arguments: tuple[str, ...], code: str
) -> None:
    ended = client("pause", "--reason", "because", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert f"[{code}]" in ended.err


@pytest.mark.parametrize("until", ["yesterday", "-1h", "23:00", "2026-08-01", "2026-08-01T06:00:00", "400d"])
def test_an_end_of_a_pause_that_is_none_is_told_with_both_forms(client: Shell, until: str) -> None:
    ended = client("pause", "--reason", "because", f"--until={until}")
    assert ended.code == 2
    assert ended.err.startswith("error: --until: expected how long from now (2h, 1d12h), or an RFC 3339 time")


def test_a_dry_run_gives_a_run_and_changes_nothing(client: Shell, service: Served) -> None:
    before = len([m for m in service.cluster.mutations if m.name == "redis" and not m.dry_run])
    ended = client.good(*ORDER, "--dry-run", "--param", "scale_to=6", "--param", "recent_deployment=1h")
    (incident, run) = (line.split()[1] for line in ended.out.splitlines())
    assert ended.err == f"follow it with: remediator explain {incident}\n"
    shown = client.good("explain", incident, "--json").json
    assert shown["incident"] == incident
    assert service.read(lambda conn: _order(conn, incident)) == {"scale_to": 6, "recent_deployment": "1h"}
    assert len([m for m in service.cluster.mutations if m.name == "redis" and not m.dry_run]) == before
    assert run


def _order(conn: object, incident_id: str) -> object:
    from app.store import incidents

    manual = incidents.get(conn, incident_id).manual  # type: ignore[arg-type]
    return dict(manual.params) if manual else None


def test_an_order_as_json_names_incident_and_run(client: Shell) -> None:
    assert set(client.good(*ORDER, "--dry-run", "--json").json) == {"incident", "run"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({1: "reboot"}, "unknown_remediation"),
        ({3: "rag7/redis"}, "bad_target"),
        ({3: "rag7/Job/redis"}, "bad_target"),
        ({5: "  "}, "invalid_field"),
    ],
)
def test_an_order_with_a_fault_is_a_usage_error_that_names_it(
    client: Shell, change: dict[int, str], code: str
) -> None:
    ended = client(*(change.get(i, a) for i, a in enumerate(ORDER)))
    assert (ended.code, ended.out) == (2, "")
    assert f"[{code}]" in ended.err


@pytest.mark.parametrize("param", ["scale_to=many", "nobody=1", "scale_to"])
def test_params_are_checked_before_anything_is_stored(client: Shell, param: str) -> None:
    assert client(*ORDER, "--param", param).code == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n=6", 6),
        ("n=1.5", 1.5),
        ("n=true", True),
        ('n=["a", "b"]', ["a", "b"]),
        ("n=30m", "30m"),
        ('n="6"', "6"),
        ("n=", ""),
        ("n=a=b", "a=b"),
        ("n=NaN", "NaN"),
        ("n=Infinity", "Infinity"),
    ],
)
def test_a_param_is_json_where_it_can_be_and_text_otherwise(text: str, value: object) -> None:
    assert _pair(text) == ("n", value)


@pytest.mark.parametrize("text", ["n", "=6", ""])
def test_a_param_needs_a_name_and_a_value(text: str) -> None:
    with pytest.raises(BadInput, match="KEY=VALUE"):
        _pair(text)


def test_an_order_for_a_workload_that_is_not_there_fails_in_words(client: Shell) -> None:
    ended = client("trigger", "high-error-rate", "--target", "rag7/Deployment/nobody", "--reason", "a drill")
    assert (ended.code, ended.out) == (1, "")
    assert "there is no Deployment nobody in the namespace rag7 [no_such_target]" in ended.err


def test_an_order_for_what_is_off_limits_is_not_looked_for(client: Shell) -> None:
    target = ("--target", "kube-system/Deployment/nobody", "--reason", "a drill", "--json")
    incident = client.good("trigger", "high-error-rate", *target).json["incident"]
    told = (client.good("explain", incident).out for _ in range(200))  # until the loop has decided it
    assert any("protected" in text for text in told)


class Ends:
    """A service whose run undoes for a while and then ends as told."""

    def __init__(self, *states: str, status: int = 200) -> None:
        self.states, self.status = list(states), status

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(202, json={"run": "run_1", "state": "undoing"})
        if self.status != 200:
            return httpx.Response(
                self.status, json={"code": "scope_missing", "detail": "tests lacks the scope read"}
            )
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return httpx.Response(
            200, json={"state": state, "result": "1 conflict" if "conflict" in state else "1 undone"}
        )


@pytest.mark.parametrize(
    ("ends", "code", "told"),
    [
        (Ends("undoing", "undone"), 0, "run run_1 undone: 1 undone\n"),
        (Ends("undoing", "reverted"), 0, "run run_1 reverted: 1 undone\n"),
        (Ends("undoing", "undo_conflict"), 1, "run run_1 undo conflict: 1 conflict\n"),
        (Ends("stuck"), 1, "run run_1 stuck: 1 undone\n"),
        (Ends("undoing"), 0, "undo of run run_1 requested\n"),
        (Ends("", status=403), 0, "undo of run run_1 requested\n"),
    ],
)
def test_an_undo_ends_with_what_became_of_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, ends: Ends, code: int, told: str
) -> None:
    """A conflict or a stuck undo is a failure; what cannot be seen in time, or with this token, is said."""
    now = itertools.count()
    monkeypatch.setattr(
        "app.cli.orders.time", SimpleNamespace(monotonic=lambda: next(now), sleep=lambda _: None)
    )
    real = Remote.__init__

    def init(self: Remote, url: str, token: str = "", transport: object = None) -> None:
        real(self, url, token, httpx.MockTransport(ends))

    monkeypatch.setattr(Remote, "__init__", init)
    ended = shell("undo", "run_1", "--wait", "5")
    assert (ended.code, ended.out) == (code, told)
    assert bool(ended.err) is (told.startswith("undo of"))


@pytest.mark.parametrize(
    ("fault", "known"),
    [(httpx.ReadTimeout, False), (httpx.RemoteProtocolError, False), (httpx.ConnectError, True)],
)
def test_an_order_whose_answer_was_lost_is_told_as_not_known(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, fault: type[httpx.TransportError], known: bool
) -> None:
    def lost(_request: httpx.Request) -> httpx.Response:
        raise fault("gone")

    real = Remote.__init__

    def init(self: Remote, url: str, token: str = "", transport: object = None) -> None:
        real(self, url, token, httpx.MockTransport(lost))

    monkeypatch.setattr(Remote, "__init__", init)
    ended = shell("approve", "run_1")
    assert (ended.code, ended.out) == (1, "")
    assert ("not known whether this was taken" in ended.err) is not known
    assert ("[service_unreachable]" in ended.err) is known
    assert "not known" not in shell("runs").err, "a question may be asked again"


def test_a_pause_of_a_span_ends_after_it_and_its_lifting_has_a_reason(client: Shell, service: Served) -> None:
    scope = "target:rag7/Deployment/another"
    before = datetime.now(UTC)
    answer = client.good(
        "pause", "--scope", scope, "--reason", "upgrade", "--until", "900h30m", "--json"
    ).json
    assert abs(datetime.fromisoformat(answer["until"]) - before - timedelta(hours=900.5)) < timedelta(hours=1)
    client.good("resume", "--scope", scope, "--reason", "done at last")
    lifted = [
        r for r in service.read(lambda conn: audit.page(conn, 0, 100_000)) if r.kind is EventKind.RESUMED
    ]
    assert lifted[-1].data == {"scope": scope, "reason": "done at last"}


def test_ack_is_acknowledge_and_unknown_ids_say_where_to_look(client: Shell) -> None:
    ended = client("ack", "inc_nobody")
    assert (ended.code, ended.out) == (2, "")
    assert "no such incident; `remediator incidents` lists them" in ended.err
    assert "`remediator runs` lists them" in client("approve", "run_nobody").err


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("[Errno -2] Name or service not known", "no such host is known here"),
        ("[Errno -3] Temporary failure in name resolution", "names cannot be resolved at the moment"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "its certificate is not trusted here"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "it does not speak TLS; try http://"),
        ("[Errno 113] No route to host", "there is no route to it"),
    ],
)
def test_why_an_address_gives_no_answer_is_told_in_words(said: str, told: str) -> None:
    def lost(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(said)

    with pytest.raises(ProbeUnavailable) as refused:
        Remote("http://nobody.test:1", transport=httpx.MockTransport(lost)).get("/api/v1/runs")
    assert str(refused.value.message) == f"no answer (ConnectError: {told}); is the service running there?"
