"""Consistency: combinations that each file may write and that cannot work. Every check finds all of its faults.

Called by `app.policy.load` once each part is valid in itself. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from pydantic import BaseModel, ValidationError

from app.domain.decision import Mode
from app.domain.plan import INSIDE
from app.domain.procedure import Consent, Procedure
from app.domain.target import WORKLOAD_KINDS
from app.policy.document import Document, RuleDocument
from app.policy.faults import PolicyFault, sentence, unknown_name
from app.policy.model import PROTECTED_NAMESPACES, SLACK_GROUP, Otherwise, Rule, Scope, Window
from app.policy.schedule import LONGEST, PUNCTUAL, Missed
from app.policy.source import Path, Source

_TWO = 2


class Handler(Protocol):
    """What a policy must know of a remediation: entries of the catalogue have it."""

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of its steps, in ladder order."""
        ...

    @property
    def params(self) -> type[BaseModel]:
        """Model of its parameters."""
        ...

    @property
    def procedure(self) -> Procedure | None:
        """What it asks for when it is a procedure; None when it is not."""
        ...


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule as written, as resolved, and where it stands."""

    source: Source
    path: Path
    written: RuleDocument
    rule: Rule

    def fault(self, where: Path, message: str, allowed: tuple[str, ...] = ()) -> PolicyFault:
        """A fault below this rule; a key that is not written points at the rule."""
        return self.source.fault((*self.path, *where), message, allowed)


def head_faults(source: Source, head: Document) -> Iterator[PolicyFault]:
    """Faults of what one file says for all rules."""
    for block in ("windows", "freeze"):
        windows: Sequence[Window] = getattr(head, block)
        for at, window in enumerate(windows):
            if window.start == window.end:
                message = 'from and to are the same; for a whole day write from "00:00" to "24:00"'
                yield source.fault((block, at), message)
            if window.days and window.dates:
                yield source.fault((block, at), "days and dates exclude each other")
            if window.start >= 24 * 60:
                yield source.fault((block, at, "from"), "a window cannot start at 24:00; write 00:00")
        yield from _twice(source, block, [w.name for w in windows])
    for budget, times in Counter((b.per, str(b.limit)) for b in head.budgets).items():
        if times > 1:
            yield source.fault(("budgets",), f"budget {budget[1]} per {budget[0]} stands here twice")
    if head.scorecard is not None and head.scorecard.at >= 24 * 60:
        yield source.fault(("scorecard", "at"), "no day has a 24:00; write 00:00 and the next day")
    for field in ("storm", "flapping"):
        if not getattr(head, field).within:
            yield source.fault((field, "within"), "an empty span can never be measured")


def _twice(source: Source, block: str, names: list[str]) -> Iterator[PolicyFault]:
    for at, name in enumerate(names):
        if name in names[:at]:
            yield source.fault((block, at, "name"), f'the name "{name}" is taken in {block}')


def rule_faults(
    placed: Placed, scope: Scope | None, catalogue: Mapping[str, Handler]
) -> Iterator[PolicyFault]:
    """Faults of one rule, its remediation's params included."""
    yield from _remediation(placed, catalogue)
    yield from _timing(placed)
    yield from _ladder_end(placed)
    yield from _aim(placed, scope, catalogue.get(placed.rule.remediation))
    yield from _schedule(placed, catalogue.get(placed.rule.remediation))


def _remediation(placed: Placed, catalogue: Mapping[str, Handler]) -> Iterator[PolicyFault]:
    name, allowed = placed.rule.remediation, tuple(sorted(catalogue))
    handler = catalogue.get(name)
    if handler is None:
        yield placed.fault(("remediation",), unknown_name("remediation", name, allowed), allowed)
        return
    for at, step in enumerate(placed.rule.steps):
        if step not in handler.steps:
            yield placed.fault(("steps", at), unknown_name("step", step, handler.steps), handler.steps)
        elif step in placed.rule.steps[:at]:
            yield placed.fault(("steps", at), f'step "{step}" stands here twice')
    found = list(_params(placed, handler, "params", placed.rule.params))
    yield from found
    both = {**placed.rule.params, **placed.rule.order_params}
    yield from _params(placed, handler, "order_params", both, whole=not found)


def _params(
    placed: Placed, handler: Handler, block: str, params: Mapping[str, object], *, whole: bool = True
) -> Iterator[PolicyFault]:
    """Faults of one block of params; what `params` says already is not said again for `order_params`. What is missing an order
    may still give. A fault of all params together has no key: it stands at the block, and is left out unless `whole`."""
    try:
        handler.params.model_validate(dict(params))
    except ValidationError as error:
        for entry in error.errors():
            keys = {str(key) for key in entry["loc"][:1]} or (
                set(placed.rule.order_params) if whole else set()
            )
            if block != "params" and keys.isdisjoint(placed.rule.order_params):
                continue
            if entry["type"] == "missing" and len(entry["loc"]) == 1 and not placed.rule.when.lists:
                continue
            message, names = sentence(entry, handler.params)
            where = (*placed.path, block, *entry["loc"])
            yield placed.source.fault(where, message, names, of_key=entry["type"] == "extra_forbidden")


def _timing(placed: Placed) -> Iterator[PolicyFault]:
    rule = placed.rule
    if rule.mode in (Mode.AUTO, Mode.EARNED) and rule.when.lists and not rule.cooldown:
        yield placed.fault(
            ("cooldown",),
            f"mode {rule.mode} needs a cooldown above 0s, or it acts again before the first fix can work",
        )
    if rule.mode is Mode.EARNED and not rule.when.lists:
        yield placed.fault(("mode",), "a rule without when earns nothing: an order needs no trust level")
    if not rule.freshness:
        yield placed.fault(("freshness",), "a freshness of 0s refuses every alert")
    if not rule.verify.poll:
        yield placed.fault(("verify", "poll"), "expected a poll above 0s")
    if rule.verify.timeout <= rule.verify.settle:
        yield placed.fault(("verify",), "timeout must be longer than settle, or nothing can ever be fixed")
    elif rule.verify.poll > rule.verify.timeout - rule.verify.settle:
        yield placed.fault(("verify",), "poll is longer than what is left of timeout after settle")
    if rule.approval.expires < timedelta(minutes=1):
        yield placed.fault(("approval", "expires"), "nobody can answer in less than 1m")
    yield from _enough_approvers(placed)


def _enough_approvers(placed: Placed) -> Iterator[PolicyFault]:
    """A group may have any number of people, and nobody named means everybody who may operate."""
    approval = placed.rule.approval
    people = set(approval.by)
    if people and not any(p.startswith(SLACK_GROUP) for p in people) and len(people) < approval.approvals:
        message = f"{approval.approvals} approvals cannot come together: by names {len(people)}"
        yield placed.fault(("approval", "approvals"), message)


def _ladder_end(placed: Placed) -> Iterator[PolicyFault]:
    steps = placed.rule.otherwise
    if not steps or steps[-1] is not Otherwise.ESCALATE:
        yield placed.fault(("otherwise",), 'the last of otherwise must be "escalate": someone has to be told')
    if len(set(steps)) != len(steps):
        yield placed.fault(("otherwise",), "a step of otherwise stands there twice")


def _aim(placed: Placed, scope: Scope | None, handler: Handler | None) -> Iterator[PolicyFault]:
    target = placed.rule.target
    if target.kind not in WORKLOAD_KINDS:
        allowed = tuple(WORKLOAD_KINDS)
        yield placed.fault(("target", "kind"), f"{target.kind} is not a kind of target", allowed)
    named = target.name.label or target.name.default or target.pod
    if placed.rule.when.lists and not named:
        yield placed.fault(("target",), "the target has no name: give name.label, name.default or pod.label")
    if target.pod and not target.pod.label:
        yield placed.fault(("target", "pod"), "pod needs a label to take the pod's name from")
    if scope is None:
        return
    inside = not INSIDE.isdisjoint(
        getattr(handler, "actions", ())
    )  # what goes on inside of it is not protected
    if target.kind in scope.protected_kinds and not inside:
        yield placed.fault(
            ("target", "kind"), f"the scope protects {target.kind}, so this rule can never act"
        )
    namespace = target.namespace.default
    if namespace and (namespace in PROTECTED_NAMESPACES or not scope.covers(namespace)):
        message = f'namespace "{namespace}" is outside of the scope, so this default can never be used'
        yield placed.fault(("target", "namespace", "default"), message)


def _schedule(placed: Placed, handler: Handler | None) -> Iterator[PolicyFault]:
    """What is ordered by the clock has to be complete: nobody is there to say the rest."""
    schedule, target = placed.rule.schedule, placed.rule.target
    if schedule is None or handler is None:
        return
    if handler.procedure is None:
        message = f"{placed.rule.remediation} is no procedure: it is started by alerts, not by the clock"
        yield placed.fault(("schedule",), message)
        return
    if not target.name.default or not target.namespace.default:
        message = "a schedule needs target.name.default and target.namespace.default: no alert names them"
        yield placed.fault(("target",), message)
    missing = [
        name
        for name, field in handler.params.model_fields.items()
        if field.is_required() and name not in placed.rule.params
    ]
    if missing:
        message = f"a schedule needs {', '.join(missing)}: nobody orders it who could say so"
        yield placed.fault(("params",), message)
    yield from _nobodys_word(placed, handler.procedure)
    if schedule.missed is Missed.SKIP and "late" in schedule.model_fields_set:
        yield placed.fault(("schedule", "late"), "late is for missed: once; what is missed is skipped")
    if not PUNCTUAL <= schedule.late <= LONGEST:
        yield placed.fault(("schedule", "late"), "expected 5m to 7d")


def _nobodys_word(placed: Placed, procedure: Procedure) -> Iterator[PolicyFault]:
    """The clock never does what a person has to agree to: the rule may not say that its order is the approval."""
    asked = placed.rule.approval
    laxer = procedure.consent is not Consent.ORDER and asked.order_counts
    if laxer or (procedure.consent is Consent.TWO and asked.approvals < _TWO):
        where = "order_counts" if laxer else "approvals"
        message = f"{placed.rule.remediation} needs a person's approval, which an order of the clock is not"
        yield placed.fault(("approval", where), message)


def order_faults(rules: Sequence[Placed]) -> Iterator[PolicyFault]:
    """Names used twice, and rules that an earlier one always wins over."""
    for at, placed in enumerate(rules):
        for earlier in rules[:at]:
            where = f"{earlier.source.file}:{earlier.source.place(earlier.path).line}"
            if earlier.rule.name == placed.rule.name:
                yield placed.fault(
                    ("name",), f'the name "{placed.rule.name}" is taken by the rule at {where}'
                )
            if placed.rule.when.lists and earlier.rule.when.covers(placed.rule.when):
                message = f'never reached: "{earlier.rule.name}" at {where} matches every alert that this rule matches'
                yield placed.fault(("when",), message)
                break
