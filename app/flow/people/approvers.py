"""Approvers: who answers a question, under which names a rule may list them, and whether two names are one person.

Called by `approve` and `clicks`. A person may have several tokens, Slack users and names at the OpenID provider; the setting
REMEDIATOR_PEOPLE says which. Whether names of two kinds (a token's owner and a Slack user) are one person is known only from
there, and what is not known counts as one, so that nobody answers twice under two names. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.errors import Refused
from app.intake.oidc import PREFIX
from app.policy.model import Approval

SLACK, OIDC = "slack:", PREFIX


@dataclass(frozen=True, slots=True)
class Approver:
    """One person. `name` stands in the audit trail; `names` are all under which a rule may list them, groups included.

    `operator`: may answer where a rule names nobody. `unread` says which user groups could not be read.
    """

    name: str
    names: frozenset[str]
    operator: bool = True
    unread: tuple[str, ...] = ()


def of_token(name: str, people: Mapping[str, str] | None = None) -> Approver:
    """The owner of an API token, or who logged in at the provider, with the scope `operate`; with all names of that person."""
    return Approver(name, names_of(name, people or {}))


def names_of(name: str, people: Mapping[str, str]) -> frozenset[str]:
    """All audited names of the person who has this one."""
    person = people.get(name)
    return frozenset({name} | {other for other, whose in people.items() if person and whose == person})


def same_person(one: str, other: str, people: Mapping[str, str]) -> bool | None:
    """Whether two audited names are one person; None when nobody can tell.

    `people` has the person of each name that the setting knows. It lists all tokens of a person when it lists one, and
    all Slack users and all names at the provider alike; so two names of one kind are two people unless it says otherwise.
    """
    if one == other:
        return True
    persons = (people.get(one), people.get(other))
    if None not in persons:
        return persons[0] == persons[1]
    first, second = (_kinds(names_of(name, people)) for name in (one, other))
    return False if first & second else None


def _kinds(names: frozenset[str]) -> set[str]:
    return {next((kind for kind in (SLACK, OIDC) if name.startswith(kind)), "") for name in names}


def against(approver: Approver, approval: Approval, run_id: str) -> Refused | None:
    """Why this person may not answer questions of the rule; None when they may."""
    if approver.names & set(approval.by) if approval.by else approver.operator:
        return None
    if not approval.by:
        text = (
            f"{approver.name} is not among REMEDIATOR_SLACK_OPERATORS, who answer where the rule names nobody"
        )
    else:
        text = f"{approver.name} is not among those who may answer: {', '.join(approval.by)}"
    unread = f" ({'; '.join(approver.unread)})" if approver.unread else ""
    return Refused(text + unread, code="not_an_approver", where=run_id)


def against_same(approver: Approver, others: Mapping[str, str], people: Mapping[str, str]) -> Refused | None:
    """Why this is not another person than all of `others` (name to what they did); None when they are."""
    for name, deed in others.items():
        same = same_person(name, approver.name, people)
        if same:
            return Refused(f"you {deed}; another person has to approve", code="same_person")
        if same is None:
            text = f"nobody can tell whether {approver.name} and {name}, who {deed}, are one person: name them in "
            return Refused(f"{text}REMEDIATOR_PEOPLE", code="maybe_same_person")
    return None


def changed(then: Approval, now: Approval) -> bool:
    """Whether the terms under which something was asked are not the terms in force any more."""
    return (set(then.by), then.approvals, then.four_eyes) != (set(now.by), now.approvals, now.four_eyes)
