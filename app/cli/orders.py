"""Orders to a running service: trigger, approve, reject, undo, keep, acknowledge, pause, resume."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from app.cli.output import AsJson, give, say, write
from app.cli.remote import DEFAULT_URL, Remote, Token, Url, incident_path, run_path
from app.domain.errors import BadInput, Refused
from app.domain.json import value_or_text
from app.domain.outcome import RunState
from app.domain.quantities import parse_duration
from app.domain.target import Target

Run = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]
Why = Annotated[
    str, typer.Option("--reason", help="Why; it stands in the thread and the audit trail. May be left out.")
]
Scope = Annotated[
    str,
    typer.Option("--scope", help="all, namespace:NAME, target:NS/KIND/NAME, rule:NAME or remediation:NAME."),
]


def trigger(
    remediation: Annotated[str, typer.Argument(metavar="REMEDIATION", help="Name in the catalogue.")],
    target: Annotated[str, typer.Option("--target", metavar="NS/KIND/NAME", help="The workload.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in Slack and the audit trail.")],
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param", metavar="K=V", help="A parameter, its value as JSON or plain text; repeatable."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Diagnose, plan, decide and rehearse; change nothing.")
    ] = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Order a remediation by hand; every gate still has its say."""
    named = Target.parse(target)
    body = {
        "remediation": remediation,
        "target": {"namespace": named.namespace, "kind": named.kind.value, "name": named.name},
        "params": _params(param or []),
        "reason": reason,
        "dry_run": dry_run,
    }
    answer = Remote(url, token).post("/api/v1/remediations", body, {"Idempotency-Key": str(uuid.uuid4())})
    if as_json:
        give(answer)
    else:
        write(f"incident {answer['incident']}\nrun {answer['run']}")
        say(f"follow it with: remediator explain {answer['incident']}")


def _params(given: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in map(_pair, given):
        if key in found:
            raise BadInput(
                "given twice; which one counts?", code="repeated_parameter", where=f"--param {key}"
            )
        found[key] = value
    return found


def _pair(text: str) -> tuple[str, Any]:
    """`scale_to=6` is a number, `recent_deployment=1h` text; text that looks like JSON is quoted twice: `k='"6"'`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise BadInput("expected KEY=VALUE", code="bad_param", where=text)
    return key, value_or_text(value)


def approve(
    run: Run, reason: Why = "", url: Url = DEFAULT_URL, token: Token = "", as_json: AsJson = False
) -> None:
    """Approve the plan of a waiting run."""
    _order(Remote(url, token), run_path(run, "approve"), as_json, f"run {run} approved", _why(reason))


def reject(
    run: Run, reason: Why = "", url: Url = DEFAULT_URL, token: Token = "", as_json: AsJson = False
) -> None:
    """Reject the plan of a waiting run, or take back an order to undo a run that has not begun."""
    _order(Remote(url, token), run_path(run, "reject"), as_json, f"run {run} rejected", _why(reason))


def undo(
    run: Run,
    despite: Annotated[
        bool,
        typer.Option(
            "--despite",
            help="Undo although something holds it (a pause, a ceiling, a freeze, the scope), or rows written since are lost.",
        ),
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, max=3600, help="Seconds to wait for its end; 0: do not wait.")
    ] = 60.0,
    reason: Why = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Undo a finished run, field by field, where its values are still in place. Exit 1 when something could not be put back."""
    remote = Remote(url, token)
    path = run_path(run, "undo") + ("?despite=true" if despite else "")
    answer = remote.post(path, _why(reason))
    if lost := answer.get("loses"):
        say(f"it loses rows: {lost}")
    ended = _end_of(remote, run, wait) if wait else None
    if as_json:
        give(answer if ended is None else ended)
    elif ended is None:
        write(f"undo of run {run} requested")
    else:
        write(f"run {run} {ended['state'].replace('_', ' ')}: {ended['result']}")
    if ended is not None and ended["state"] not in _TAKEN_BACK:
        raise typer.Exit(1)


def _why(reason: str) -> dict[str, str]:
    """The body of an order: without a reason it stays empty, as services of before know it."""
    return {"reason": reason} if reason else {}


_TAKEN_BACK = (RunState.UNDONE, RunState.REVERTED)
_UNDER_WAY = tuple(state for state in RunState if not state.ended)
_POLL = 0.5  # seconds


def _end_of(remote: Remote, run: str, seconds: float) -> dict[str, Any] | None:
    """The run once its undo has ended; None when that is not in time, or not for this token to see, which is said."""
    until = time.monotonic() + seconds
    while True:
        try:
            found = remote.get(run_path(run))
        except Refused as refusal:
            say(f"how it ends cannot be read with this token: {refusal}")
            return None
        if found["state"] not in _UNDER_WAY:
            return found
        if time.monotonic() >= until:
            say(f"it has not ended yet; follow it with: remediator explain {run}")
            return None
        time.sleep(_POLL)


def keep(
    run: Run, reason: Why = "", url: Url = DEFAULT_URL, token: Token = "", as_json: AsJson = False
) -> None:
    """Keep the temporary changes of a finished run: they are not taken back at their end."""
    answer = Remote(url, token).post(run_path(run, "keep"), _why(reason))
    if as_json:
        give(answer)
    elif answer["kept"]:
        write(f"changes of run {run} stay")
    else:
        write(f"the end of run {run}'s changes has begun: they stay if nothing of them was taken back yet")
        say(f"follow it with: remediator explain {run}")


def acknowledge(
    incident: Annotated[str, typer.Argument(metavar="ID", help="Id of the incident, or of the storm.")],
    reason: Why = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Take an incident: nobody else is asked, and nothing is done on it by itself."""
    answer = Remote(url, token).post(incident_path(incident, "acknowledge"), _why(reason))
    if as_json:
        give(answer)
    elif answer["answer"] == "already":
        write(f"{incident} is {answer['by']}'s already")
    else:
        write(f"{incident} acknowledged by {answer['by']}")


def pause(
    reason: Annotated[str, typer.Option("--reason", help="Why; others will ask.")],
    scope: Scope = "all",
    until: Annotated[
        str,
        typer.Option(
            "--until", help="End as RFC 3339 time, or how long from now (2h, 1d12h); empty: until resumed."
        ),
    ] = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Stop all action inside a scope; looking and telling go on."""
    body: dict[str, Any] = {"scope": scope, "reason": reason}
    if until:
        body["until"] = _end(until)
    _order(Remote(url, token), "/api/v1/pause", as_json, f"paused {scope}", body)


def _end(text: str) -> str:
    """An end as the service takes it. A span counts from now by this machine's clock. Raises BadInput for what is neither of both."""
    try:
        span = parse_duration(text)
    except ValueError:
        if not _has_zone(text):
            told = "expected how long from now (2h, 1d12h), or an RFC 3339 time with its zone (2026-08-01T06:00:00Z)"
            raise BadInput(told, code="invalid_field", where="--until") from None
        return text
    return (datetime.now(UTC) + span).isoformat(timespec="seconds")


def _has_zone(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def resume(
    scope: Scope = "all", reason: Why = "", url: Url = DEFAULT_URL, token: Token = "", as_json: AsJson = False
) -> None:
    """Lift a pause."""
    body = {"scope": scope, **_why(reason)}
    _order(Remote(url, token), "/api/v1/resume", as_json, f"resumed {scope}", body)


def _order(remote: Remote, path: str, as_json: bool, done: str, body: Any = None) -> None:
    answer = remote.post(path, body)
    if as_json:
        give(answer)
    else:
        write(done)
