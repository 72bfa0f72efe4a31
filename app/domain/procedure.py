"""What makes a remediation a procedure: one that an order starts and that needs no alert, and what it asks for by itself.

Read by the policy, which applies it below what a rule says. Never decides whether a run may go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Consent(StrEnum):
    """What an order of a procedure needs besides itself, where its rule has no other word.

    `order`: nothing, when whoever ordered may approve. `approval`: somebody approves the plan, whoever ordered it; for what
    destroys something. `two`: two different people approve it; for what replaces data as a whole.
    """

    ORDER = "order"
    APPROVAL = "approval"
    TWO = "two"


@dataclass(frozen=True, slots=True)
class Procedure:
    """The class attribute `procedure` of a remediation that is one.

    `settle`, `timeout` and `poll` are how its verification watches where its rule does not say so; None for what the policy
    says.
    """

    consent: Consent = Consent.ORDER
    settle: timedelta | None = None
    timeout: timedelta | None = None
    poll: timedelta | None = None
