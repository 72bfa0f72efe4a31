"""The policy as the program uses it: frozen, complete, nothing optional that a gate would have to guess.

Built by `app.policy.load` from YAML documents (their written form is `app.policy.document`); read by the gates, the flow
and the explanations. Every default here is the safe one. Never reads files.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
)

from app.domain import quantities
from app.domain.decision import Mode
from app.domain.json import JsonValue, canonical
from app.domain.target import OBJECT_NAME, Kind
from app.policy.block import Block
from app.policy.escalation import EscalationPolicy
from app.policy.matchers import NEVER, LabelMapping
from app.policy.schedule import Schedule
from app.policy.values import Duration, Matcher, NamespacePattern, Percentage, RateLimits, WallTime, Zone

PROTECTED_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")
"""Never touched, whatever a policy says: what runs there keeps the cluster alive."""
APPROVER = r"^([A-Za-z0-9._-]{1,64}|slack:[UW][A-Z0-9]{2,30}|slack-group:S[A-Z0-9]{2,30}|oidc:[A-Za-z0-9._~@|:/%-]{1,250})$"
"""A token's name, a Slack user or a Slack user group."""
SLACK_GROUP = "slack-group:"


class Opt(StrEnum):
    """`out`: everything in scope unless marked "false". `in`: only what is marked "true"."""

    IN = "in"
    OUT = "out"


class Scope(Block):
    """Where the service may act at all. Namespace patterns may contain `*`. `secrets` names the Secrets whose keys may be looked
    at, to tell which one is missing. Rules name more Secrets in their params, for logins and keys; `remediator rbac` prints the rights on all of
    them."""

    namespaces: tuple[NamespacePattern, ...] = Field(min_length=1)
    exclude_namespaces: tuple[NamespacePattern, ...] = ()
    secrets: tuple[Annotated[str, Field(pattern=f"^{OBJECT_NAME}$")], ...] = ()
    opt: Opt = Opt.OUT
    protected_kinds: tuple[Kind, ...] = ()

    def covers(self, namespace: str) -> bool:
        """True when a pattern includes this namespace and none excludes it."""
        included = any(fnmatchcase(namespace, p) for p in self.namespaces)
        return included and not any(fnmatchcase(namespace, p) for p in self.exclude_namespaces)


class Per(StrEnum):
    """What a shared budget is counted for; one ledger key each."""

    CLUSTER = "cluster"
    NAMESPACE = "namespace"
    TARGET = "target"
    RULE = "rule"
    REMEDIATION = "remediation"


class Budget(Block):
    """A limit shared by all rules and replicas of the service."""

    per: Per
    limit: RateLimits


class Day(StrEnum):
    """Days of the week, in `datetime.weekday()` order."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


def _date(value: object) -> date:
    try:
        return value if isinstance(value, date) else date.fromisoformat(str(value))
    except ValueError as error:
        raise ValueError(f"expected a date such as 2026-12-24, got {value!r}") from error


CalendarDate = Annotated[date, BeforeValidator(_date)]


class Window(Block):
    """Recurring wall-clock hours in a time zone; `days` or `dates` name the day on which it starts, none means each day.

    `to` earlier than `from` ends on the next day. `to: "23:59"` is read as the end of the day, as people mean it.
    """

    name: str = Field(min_length=1)
    days: tuple[Day, ...] = ()
    dates: tuple[CalendarDate, ...] = ()
    start: WallTime = Field(default=0, alias="from")
    end: WallTime = Field(default=quantities.DAY_MINUTES, alias="to")
    timezone: Zone


class Scorecard(Block):
    """The weekly message with what the week was worth, posted at this wall-clock time of the zone. It tells the seven days
    before, beside the seven days before those."""

    day: Day = Day.MON
    at: WallTime = 9 * 60
    timezone: Zone


class Heartbeat(Block):
    """An alert that always fires, such as Prometheus' Watchdog. A person is called when it is not heard of for `missing_after`:
    then other alerts may not arrive either. Its repeat_interval in Alertmanager has to be shorter."""

    alertname: str = Field(min_length=1, max_length=256)
    missing_after: Duration = timedelta(minutes=15)


class Storm(Block):
    """Many targets in trouble at once: something bigger is wrong, so only look. Minimum two targets."""

    targets: int = Field(default=10, ge=2)
    within: Duration = timedelta(minutes=5)

    @property
    def blinding(self) -> int:
        """From so many targets on the cluster is not looked at either: it would be asked for each of them what it may be
        too busy to answer."""
        return 5 * self.targets


class Flapping(Block):
    """Circuit breaker for one target and remediation: ask a person after this many runs in a row that did not fix it,
    or after it was fixed `fixed` times and came back."""

    not_fixed: int = Field(default=2, ge=1)
    fixed: int = Field(default=4, ge=1)
    within: Duration = timedelta(hours=24)


class BlastRadius(Block):
    """How much may be taken down at once: a share of the ready pods, at least `minimum`; and targets in flight."""

    pods: Percentage = quantities.Percent(3_000)
    minimum: int = Field(default=1, ge=0)
    targets_in_flight: int = Field(default=3, ge=1)


class Verify(Block):
    """When "done" is believed: quiet for `settle`, given up after `timeout`, looked at every `poll`."""

    settle: Duration = timedelta(minutes=2)
    timeout: Duration = timedelta(minutes=10)
    poll: Duration = timedelta(seconds=10)


class Approval(Block):
    """Who may answer and how long a question stands. Empty `by`: everybody with the right to operate.

    `by` has names of tokens, Slack users (`slack:U07ABCD1234`), Slack user groups (`slack-group:S07ABCD1234`) and people of the
    OpenID provider (`oidc:alice@example.com`).
    `approvals` is how many different people have to say yes; one no is enough.
    `four_eyes`: who orders a remediation by hand still needs another person's approval.
    `order_counts`: the order of somebody who may approve is the approval. False: the plan is approved once it is known, by whom
    else or by them.
    """

    expires: Duration = timedelta(minutes=30)
    by: tuple[Annotated[str, Field(pattern=APPROVER)], ...] = ()
    approvals: int = Field(default=1, ge=1, le=5)
    four_eyes: bool = False
    order_counts: bool = True


class OwnedMode(StrEnum):
    """What to do about an object that somebody else writes too."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


class Ownership(Block):
    """Other writers of the target. `hpa` concerns replica numbers, `gitops` (Argo CD, Flux) and `helm` every change of
    the spec; a GitOps controller may revert our change, a Helm release only shows it at the next upgrade. `controller` is for
    whatever an operator owns, `vpa` for sizes that a VerticalPodAutoscaler sets."""

    hpa: OwnedMode = OwnedMode.ALLOW
    gitops: OwnedMode = OwnedMode.ASK
    helm: OwnedMode = OwnedMode.ALLOW
    controller: OwnedMode = OwnedMode.ASK
    vpa: OwnedMode = OwnedMode.ASK


class NewPodsTerms(Block):
    """`unknown`: what cannot be read of whether a new pod could start, such as Secrets without the right to. Optional rights
    close nothing. A step that may take all running pods down asks at least."""

    unknown: OwnedMode = OwnedMode.ASK


class FromLabel(Block):
    """A value taken from an alert label by name, with what to use when the alert lacks it."""

    label: str = Field(default="", max_length=1024)
    default: str = ""


class OnDefault(StrEnum):
    """What to do when the alert names no workload, so that the default is a guess."""

    ASK = "ask"
    ACT = "act"


class TargetSpec(Block):
    """How a rule finds its target in the alert's labels: the label of `name`, else another label that names a workload, else
    the pod of `pod` (its owner is the target, as where `name` is taken from the label `pod`), else the default of `name`. That is a guess, and the mode is approve at most
    unless `on_default` is act; no guess is made where the labels name something else. A label never widens the scope: the scope
    gate looks at what comes out."""

    kind: Kind = Kind.DEPLOYMENT
    name: FromLabel = FromLabel()
    namespace: FromLabel = FromLabel(label="namespace")
    pod: FromLabel | None = None
    on_default: OnDefault = OnDefault.ASK


class RuleLimits(Block):
    """The rule's own rate limits, beside the shared budgets."""

    per_target: RateLimits | None = None
    in_all: RateLimits | None = None


class Otherwise(StrEnum):
    """What to do, in order, when verification does not say fixed."""

    NEXT = "next"
    UNDO = "undo"
    ESCALATE = "escalate"


class Temporary(Block):
    """Scale and memory changes of the rule are temporary: taken back after `revert_after`, unless somebody keeps them or they
    are still needed then."""

    revert_after: Duration = timedelta(hours=2)


class TargetClass(StrEnum):
    """Which targets share one trust level: all of a namespace, those of one kind in a namespace, or each for itself."""

    NAMESPACE = "namespace"
    KIND = "kind"
    TARGET = "target"


class Start(StrEnum):
    """At which level a trust level begins."""

    OBSERVE = "observe"
    APPROVE = "approve"


class Promotion(StrEnum):
    """`automatic`: when it is earned. `asked`: a person has to confirm it, by the rule's `approval`."""

    AUTOMATIC = "automatic"
    ASKED = "asked"


class Proof(Block):
    """What a level takes: so many counted runs, and that the share of fixed ones is at least `bound` (Wilson's lower
    bound, between 0 and 1), both since the level below began."""

    runs: int = Field(ge=1, le=1_000)
    bound: float = Field(gt=0, lt=1)


def _confidence(value: quantities.Percent) -> quantities.Percent:
    if not 5_000 <= value.hundredths < 10_000:
        raise ValueError(f"expected a confidence from 50% to 99.99%, got {value}")
    return value


class TrustTerms(Block):
    """For rules with `mode: earned`: how one alert, remediation and class of targets rises and what it takes.

    `approve` is what it takes to leave observe for approve, `auto` to leave approve for auto. A setback lowers at once.
    """

    per: TargetClass = TargetClass.KIND
    start: Start = Start.OBSERVE
    approve: Proof = Proof(runs=3, bound=0.4)
    auto: Proof = Proof(runs=10, bound=0.7)
    promotion: Promotion = Promotion.AUTOMATIC
    confidence: Annotated[Percentage, AfterValidator(_confidence)] = quantities.Percent(9_500)


def _ceiling(value: Mode) -> Mode:
    if value is Mode.EARNED:
        raise ValueError("a ceiling is observe, approve or auto; earned is a rule's mode")
    return value


Ceiling = Annotated[
    Mode, AfterValidator(_ceiling), WithJsonSchema({"enum": ["observe", "approve", "auto"], "type": "string"})
]


class Rule(Block):
    """One rule with everything resolved: what it says itself over what the policy says for all.

    `procedure`: its remediation is one. `order_cooldown` is the cooldown of orders, which of a procedure are repeated on purpose;
    None where they cool down like alerts.
    """

    name: str
    when: Matcher = NEVER
    target: TargetSpec
    remediation: str
    mode: Mode
    params: Mapping[str, Any]
    steps: tuple[str, ...]
    blocked_by: tuple[Matcher, ...]
    limits: RuleLimits
    cooldown: Duration
    freshness: Duration
    blast_radius: BlastRadius
    verify: Verify
    approval: Approval
    ownership: Ownership
    flapping: Flapping
    otherwise: tuple[Otherwise, ...]
    new_pods: NewPodsTerms = NewPodsTerms()
    temporary: Temporary | None = None
    trust: TrustTerms = TrustTerms()
    order_params: Mapping[str, Any] = {}
    labels: LabelMapping = LabelMapping()
    procedure: bool = False
    order_cooldown: Duration | None = None
    schedule: Schedule | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """For the store: what a run was decided under; a reload does not change a run under way. Without how labels were
        read: its target is known; and without `when` where no alert starts it."""
        left_out = {"labels"} if self.when.lists else {"labels", "when"}
        left_out |= set() if self.schedule is not None else {"schedule"}
        return self.model_dump(mode="json", by_alias=True, exclude=left_out)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rule:
        """Rebuild from `to_json`. Raises pydantic.ValidationError when it is not one."""
        return cls.model_validate_json(canonical(dict(data)))


class Policy(Block):
    """Everything in force. `version` is a short digest of the content, comments aside. `mode` is a ceiling. `places` says where
    each rule stands (`file:line`), and is no content."""

    version: str
    mode: Ceiling
    scope: Scope
    budgets: tuple[Budget, ...]
    windows: tuple[Window, ...]
    freeze: tuple[Window, ...]
    storm: Storm
    defaults: Rule
    rules: tuple[Rule, ...]
    scorecard: Scorecard | None = None
    labels: LabelMapping = LabelMapping()
    heartbeats: tuple[Heartbeat, ...] = ()
    escalation: EscalationPolicy | None = None
    places: Mapping[str, str] = Field(default={}, exclude=True)

    def heartbeat(self, alertname: str) -> Heartbeat | None:
        """The heartbeat of this name."""
        return next((h for h in self.heartbeats if h.alertname == alertname), None)

    def rule(self, name: str) -> Rule | None:
        """The rule of this name."""
        return next((r for r in self.rules if r.name == name), None)
