"""One case for each step of each remediation in the catalogue: a world, a policy, and what has to come out of it.

A remediation gets its cases by being in the catalogue: the shipped scenario of its name under a policy that allows one step
alone. Where the shipped scenario does not lead to a step, `VARIATIONS` says what has to be different; a step
without a case that acts fails `test_every_step_of_the_catalogue_is_reached`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from app.domain.decision import Mode
from app.domain.errors import StoreUnavailable
from app.domain.outcome import IncidentState
from app.domain.procedure import Consent
from app.policy.load import load_policy
from app.policy.model import Policy, Rule, Verify
from app.sim import load_scenario
from app.sim.scenario import Scenario
from app.store import incidents
from remediations import CATALOGUE
from tests.crash.worlds import autoscaled, blocked, eased, exhausted, flood, leaking, overload, two_tables
from tests.orders import ORDERS, keda_world
from tests.scenario.rig import Rig, shipped_policy
from tests.scenario.scenes import says_yes

DATA = Path(__file__).resolve().parents[1] / "data" / "scenarios"
BRISK = Verify(settle=timedelta(seconds=45), timeout=timedelta(minutes=6), poll=timedelta(seconds=45))
"""Few measurements, so that a run is short enough to be cut at every boundary."""

Hand = Callable[[Rig], Awaitable[None]]


async def _nobody(_rig: Rig) -> None:
    return


@dataclass(frozen=True, slots=True)
class Case:
    """One run to be cut. `of_rule` replaces fields of every rule, `params` some of its parameters; `hand` is what people
    do meanwhile, again after each death; `ends` is the state in which an undisturbed run leaves the incident."""

    remediation: str
    step: str
    world: Callable[[], Scenario]
    of_rule: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    of_policy: Mapping[str, Any] = field(default_factory=dict)
    hand: Hand = _nobody
    ends: IncidentState = IncidentState.FIXED
    name: str = ""
    long: bool = False  # a life of it takes seconds: fewer cuts by default

    def __str__(self) -> str:
        return self.name or f"{self.remediation}/{self.step}"

    def policy(self) -> Policy:
        """The shipped policy with this case's differences."""
        shipped = shipped_policy()
        rules = tuple(
            rule.model_copy(
                update={"verify": BRISK, **self.of_rule, "params": {**rule.params, **self.params}}
            )
            if rule.remediation == self.remediation
            else rule
            for rule in shipped.rules
        )
        return shipped.model_copy(update={"rules": rules, **self.of_policy})

    def rig(self, path: Path, **changes: Any) -> Rig:
        """The service in this case's world, not born yet."""
        rig = Rig(path, world=self.world(), stride=15.0, **changes)
        rig.policy = self.policy()
        return rig


def _shipped(name: str) -> Callable[[], Scenario]:
    return cache(lambda: load_scenario(name))


def _ordered(name: str, *, approved: bool = False) -> Hand:
    """A person who orders the procedure, once, and says yes where they are asked."""

    async def hand(rig: Rig) -> None:
        if await rig.store.read(lambda conn: incidents.page(conn, None, 1)):
            await (says_yes if approved else _nobody)(rig)
            return
        with suppress(StoreUnavailable):  # they order again
            await rig.store.ingest(ORDERS[name].delivery(name, rig.clock))

    return hand


def _rules(*lines: str) -> tuple[Rule, ...]:
    """Rules of a policy of their own, quick to verify."""
    text = "\n".join(["version: 1", "scope: {namespaces: [rag7]}", "rules:", *lines])
    found = load_policy({"case.yaml": text}, CATALOGUE).rules
    return tuple(rule.model_copy(update={"verify": BRISK}) for rule in found)


VARIATIONS: Mapping[tuple[str, str], Case] = {
    ("high-error-rate", "scale-up"): Case(
        "high-error-rate", "scale-up", overload, params={"scale_to": 8}, ends=IncidentState.CONTAINED
    ),
    ("high-latency", "scale-out"): Case(
        "high-latency", "scale-out", _shipped("high-latency"), ends=IncidentState.CONTAINED
    ),
    ("high-latency", "restart"): Case(
        "high-latency",
        "restart",
        _shipped("high-latency"),
        params={"scale_to": 2},
        hand=says_yes,
        ends=IncidentState.ESCALATED,
    ),
    ("out-of-memory", "scale-out"): Case(
        "out-of-memory",
        "scale-out",
        _shipped("out-of-memory"),
        hand=says_yes,
        ends=IncidentState.ESCALATED,
    ),
    ("database-connections", "terminate-idle-in-transaction"): Case(
        "database-connections",
        "terminate-idle-in-transaction",
        _shipped("database-connections"),
        of_rule={"mode": Mode.AUTO},
        ends=IncidentState.CONTAINED,
    ),
    ("database-connections", "terminate-blocker"): Case(
        "database-connections",
        "terminate-blocker",
        blocked,
        of_rule={"mode": Mode.AUTO},
        ends=IncidentState.CONTAINED,
    ),
    ("database-connections", "restart-client"): Case(
        "database-connections",
        "restart-client",
        leaking,
        hand=says_yes,
        ends=IncidentState.CONTAINED,
    ),
    ("database-connections", "restart-postgres"): Case(
        "database-connections",
        "restart-postgres",
        exhausted,
        of_policy={"scope": shipped_policy().scope.model_copy(update={"protected_kinds": ()})},
        hand=says_yes,
        ends=IncidentState.CONTAINED,
    ),
    ("database-backup", "back-up"): Case(
        "database-backup",
        "back-up",
        _shipped("database-backup"),
        of_policy={
            "rules": _rules(
                "  - name: backups",
                "    remediation: database-backup",
                "    params: {service: postgres, to: s3://b, store_secret: backup-store, uploader: remediator:1}",
                "    mode: auto",
            )
        },
        hand=_ordered("database-backup"),
    ),
    ("configuration-backup", "save"): Case(
        "configuration-backup",
        "save",
        _shipped("configuration-backup"),
        of_policy={
            "rules": _rules(
                "  - name: configuration",
                "    remediation: configuration-backup",
                "    params:",
                "      {to: s3://b, store_secret: backup-store, uploader: remediator:1, account: configuration-reader,",
                "       recipients: [age1aed7f487u2axawlzkfvn0k3e7ev0q937gw4scw7rm3s3wl9f85gqltln5w]}",
                "    mode: auto",
            )
        },
        hand=_ordered("configuration-backup"),
    ),
    ("database-restore", "restore"): Case(
        "database-restore",
        "restore",
        _shipped("database-restore"),
        of_policy={
            "rules": _rules(
                "  - name: restores",
                "    remediation: database-restore",
                "    params: {service: postgres, to: s3://b, store_secret: backup-store, uploader: remediator:1}",
                "    mode: approve",
                "    approval: {approvals: 1}",
            )
        },
        hand=_ordered("database-restore", approved=True),
        long=True,
    ),
    ("api-rate-limits", "rotate-key"): Case(
        "api-rate-limits",
        "rotate-key",
        _shipped("api-rate-limits"),
        of_rule={"mode": Mode.AUTO},
        ends=IncidentState.CONTAINED,
    ),
    ("clean-checkpoints", "remove-old-checkpoints"): Case(
        "clean-checkpoints",
        "remove-old-checkpoints",
        _shipped("clean-checkpoints"),
        hand=_ordered("clean-checkpoints", approved=True),
        long=True,
    ),
    ("database-vacuum", "vacuum"): Case(
        "database-vacuum",
        "vacuum",
        two_tables,
        hand=_ordered("database-vacuum", approved=True),
        long=True,
    ),
    ("certificate-renewal", "delete-secret"): Case(
        "certificate-renewal",
        "delete-secret",
        _shipped("certificate-renewal"),
        of_policy={
            "rules": _rules(
                "  - name: certificates",
                "    remediation: certificate-renewal",
                "    params: {certificate: langgraph-tls, secret: langgraph-tls, deletable: langgraph-tls, delete_secret: true}",
            )
        },
        hand=_ordered("certificate-renewal", approved=True),
    ),
    ("pod-restarting", "restart"): Case(
        "pod-restarting", "restart", cache(lambda: load_scenario(DATA / "late-configuration.yaml"))
    ),
}

PERSONS_WORK = frozenset(
    {
        ("pod-restarting", "fix-by-hand"),
        ("database-connections", "fix-by-hand"),
        *(("api-rate-limits", step) for step in ("mend-cache", "wait-in-code", "ask-provider")),
        ("logs-and-volumes", "free-by-hand"),
    }
)
"""Steps that never act: they tell a person what to do."""

EXTRA = (
    Case(
        "adjust-hpa",
        "adjust-autoscaler",
        keda_world,
        hand=_ordered("adjust-hpa"),
        name="adjust-hpa/adjust-autoscaler of KEDA",
    ),
    Case(
        "high-latency",
        "scale-out",
        autoscaled,
        ends=IncidentState.CONTAINED,
        name="high-latency/scale-out under an autoscaler",
    ),
    Case(
        "high-latency",
        "scale-out",
        flood,
        of_rule={"steps": ()},
        hand=says_yes,
        ends=IncidentState.ESCALATED,
        name="high-latency/all steps, none helps",
        long=True,
    ),
    Case(
        "high-latency",
        "scale-out",
        eased,
        of_rule={"steps": ()},
        hand=says_yes,
        ends=IncidentState.ESCALATED,
        name="high-latency/all steps, the first helps in part",
        long=True,
    ),
    Case(
        "high-error-rate",
        "roll-back",
        _shipped("high-error-rate"),
        of_rule={"mode": Mode.APPROVE},
        hand=says_yes,
        name="high-error-rate/roll-back after an approval",
    ),
)


def _usual(name: str, step: str) -> Case:
    """The shipped scenario of its name, or an order where no alert starts it."""
    procedure = CATALOGUE[name].procedure
    if procedure is None:
        return Case(name, step, _shipped(name))
    asks = procedure.consent is not Consent.ORDER
    return Case(name, step, ORDERS[name].world, hand=_ordered(name, approved=asks))


def cases() -> list[Case]:
    """One case for each acting step of the catalogue, then the extra ones."""
    found = []
    for name, remediation in CATALOGUE.items():
        for step in remediation.steps:
            if (name, step) in PERSONS_WORK:
                continue
            case = VARIATIONS.get((name, step)) or _usual(name, step)
            found.append(replace(case, of_rule={"steps": (step,), **case.of_rule}))
    return [*found, *EXTRA]


__all__ = ["BRISK", "PERSONS_WORK", "VARIATIONS", "Case", "cases"]
