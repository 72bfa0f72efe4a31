"""What speaks against a step, by what most errors are about, and where they are. Whether the last release is to be taken back: what acquits it of errors, what makes it a
question, what failed first, and which containers show what it is for; whether more pods would help; and whether the errors are over. Called by the handlers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.domain.evidence import Diagnosis
from app.domain.onset import Since
from app.domain.plan import Step
from remediations.causes.ended import ENDED
from remediations.causes.model import CauseCode
from remediations.causes.report import CAUSE, ORIGIN, FirstCause
from remediations.causes.silent import only_held, used_up_since
from remediations.evidence.directions import where_to_look
from remediations.evidence.error_signs import ANOTHER_SIDE, ITSELF
from remediations.evidence.error_words import Nature
from remediations.evidence.pods import Errors, enough
from remediations.evidence.usage import (
    about_neighbours,
    count,
    failed_dependencies,
    healthy_dependencies,
    names_dependency,
    unknown_dependencies,
)
from remediations.shared import refuse

ROLL_BACK = "roll-back"
_TO_CHECK = "check what the pods connect to, and name it in the rule's params (dependencies)"


def acquitted(diagnosis: Diagnosis) -> list[str]:
    """That the rollout which stands beside did not bring the errors, and why: who reads of it alone takes it back by hand."""
    origin, rollout = diagnosis.finding(ORIGIN), diagnosis.finding("rollout.recent")
    beside = rollout is not None and rollout.data.get("recent") is True
    return [origin.text] if origin is not None and beside and origin.data["rollout"] is not True else []


def accused(step: Step, diagnosis: Diagnosis) -> Step:
    """The step; where it cannot be taken, with whose the errors are, for who does it by hand."""
    origin = diagnosis.finding(ORIGIN)
    alone = origin is not None and origin.data["rollout"] is True and origin.data["only_newest"] is True
    return (
        step
        if step.applies or not alone or origin is None
        else replace(step, why=f"{origin.text}. {step.why}")
    )


def doubt_of(diagnosis: Diagnosis) -> str:
    """Why a person has to say that the last rollout brought the errors; empty when the logs do."""
    origin, errors = diagnosis.finding(ORIGIN), diagnosis.finding("errors.grouped")
    if origin is not None:
        held = origin.data["only_newest"] is True and not origin.data["named"]
        return str(origin.data["asks"]) or (only_held(Errors(diagnosis)) if held else "")
    why = errors.text if errors is not None else "the logs were not read"
    return f"since when requests fail is not known: {why}"


def cut_off(diagnosis: Diagnosis) -> str:
    """The cause when the last rollout has cut its pods off from their Service: requests fail then, and no pod writes an error."""
    cause = FirstCause(diagnosis)
    off = (
        cause.code in (CauseCode.SERVICE_SELECTOR, CauseCode.SERVICE_PORT) and cause.sure and cause.by_rollout
    )
    return f"{cause.text} ({cause.rollout_why})" if off else ""


def innocent(diagnosis: Diagnosis, errors: Errors) -> Step | None:
    """The step that is refused because the last rollout did not bring this, or nobody can tell; None when it can have."""
    cause, origin = FirstCause(diagnosis), diagnosis.finding(ORIGIN)
    if why := cause.acquits:
        return refuse(ROLL_BACK, why, cause.advice)
    if errors.place is not None and errors.ill:
        return refuse(ROLL_BACK, errors.place.text, str(errors.place.data["advice"]))
    if origin is None or (errors.none and cut_off(diagnosis)):
        return None
    if origin.data["rollout"] is not True:
        told = f" ({origin.data['measured']})" if errors.none else ""
        older = f"find what began before the rollout{told}: an older version meets it as well"
        advice = f"look at what changed {origin.data['instead']}" if origin.data["instead"] else ""
        return refuse(
            ROLL_BACK, origin.text, advice or (older if origin.data["before"] == Since.OLDER else "")
        )
    if origin.data["dependency"] is True and not (
        _named_healthy(diagnosis, errors) or used_up_since(errors, origin)
    ):
        if origin.data["only_newest"] is True or origin.data["named"] or unknown_dependencies(diagnosis):
            return None  # told from the old version or by a name, or refused with the dependency's name below
        answering = healthy_dependencies(diagnosis)
        checked = f"only {answers(answering)}, which it does not name" if answering else "none is checked"
        return refuse(
            ROLL_BACK,
            f"the errors speak of a dependency, and {checked}: {errors.top}",
            f"{where_to_look(errors.said) or _TO_CHECK}; the most frequent error is {errors.top}",
        )
    return None


def _named_healthy(diagnosis: Diagnosis, errors: Errors) -> bool:
    """Does a dependency answer that the most frequent error names? That others answer tells nothing of it."""
    answering = healthy_dependencies(diagnosis)
    return any(
        f.data.get("name") in answering and names_dependency(f, errors.said)
        for f in diagnosis.findings
        if f.code.startswith("dependency.")
    )


def dependency_first(diagnosis: Diagnosis, errors: Errors, why: str) -> Step | None:
    """The step that is refused because a dependency is down; None where none is."""
    if not (failed := failed_dependencies(diagnosis)):
        return None
    down = "; ".join(f.text for f in failed)
    names = " and ".join(str(f.data["name"]) for f in failed)
    about = f"; the most frequent error is {errors.top}" if errors.top else ""
    return refuse("", f"{names} is down and {why}: {down}", f"restore {names} first ({down}){about}")


def answers(names: Sequence[str]) -> str:
    """That these dependencies answer."""
    return f"{' and '.join(names)} {'answers' if len(names) == 1 else 'answer'}"


def shown_by(diagnosis: Diagnosis) -> frozenset[str]:
    """The containers that have what a rollback is for and accuse themselves: those with the errors, else that of the cause. None where what they say is about
    an address of the pod itself: another container of it has to answer there, whatever that one is."""
    origin = diagnosis.finding(ORIGIN)
    found = origin or diagnosis.finding(CAUSE)
    data: Any = found.data if found is not None else {}
    said = Errors(diagnosis).said if origin is not None else str(data.get("text", ""))
    inside = ITSELF.search(said) and not ANOTHER_SIDE.search(said)
    return frozenset() if inside else frozenset(data.get("containers") or ())


def errors_over(diagnosis: Diagnosis) -> str:
    """Why nothing is to be done about errors: they are over, and nothing that is there now tells of more to come. Empty otherwise."""
    found, cause = diagnosis.finding(ENDED), FirstCause(diagnosis)
    if found is None or not found.data["over"] or failed_dependencies(diagnosis):
        return ""
    return "" if cause.unknown or (cause.sure and not cause.beside) else str(found.data["text"])


def ended_in_part(diagnosis: Diagnosis) -> str:
    """Why only a person may say what the errors tell of now: some pods have none any more, or requests fail on without any. Empty otherwise."""
    found = diagnosis.finding(ENDED)
    return str(found.data["asks"]) if found is not None else ""


# What speaks against more pods.

_NOT_CAPACITY: Mapping[Nature, tuple[str, str]] = {
    Nature.CODE: (
        "the errors come from the code, and more replicas of it fail alike",
        "fix the code or its input",
    ),
    Nature.RATE_LIMIT: (
        "a provider limits our requests, and more replicas would ask more often",
        "back off, spread the load over more API keys, cache, or ask the provider for a higher limit",
    ),
    Nature.DEPENDENCY: (
        "the errors speak of a dependency, and more replicas would load it more",
        "check what the pods connect to, also its certificate and its connection limit",
    ),
    Nature.ANSWER: (
        "what the pods call answers with an error or too late, and more replicas would call it more",
        "look at what the error names",
    ),
    Nature.LOGIN: (
        "somebody does not let the pods in, and more replicas are turned away alike",
        "check the login, key or certificate that the error is about",
    ),
    Nature.PLACE: (
        "the pods' node or volume lacks something, and more replicas do not bring it",
        "look at the nodes and volumes of the pods",
    ),
}
OF_OTHERS = frozenset(_NOT_CAPACITY) - {Nature.CODE}
"""What speaks of something else than the program and its load."""


def no_capacity(errors: Errors, natures: Collection[Nature], *, strained: bool) -> tuple[str, str] | None:
    """Why more pods would not help, by what most errors are about, and what a person does; None when these natures say nothing of the
    kind. `strained` pods may get late answers, not wrong ones, by their own doing, and what accuses nobody tells nothing against what was measured."""
    place = errors.place
    if place is not None and errors.ill:
        return place.text, str(place.data["advice"])
    look = f"{place.data['advice']} ({place.text}); " if place is not None else ""
    look = f"{errors.some.data['advice']}; " if errors.some is not None else look
    for nature, (why, advice) in _NOT_CAPACITY.items():
        late = nature is Nature.ANSWER and errors.only_late
        own = strained and (late or (nature is Nature.CODE and errors.of_nobody))
        if nature in natures and not own and errors.share(nature) >= 0.5:
            near = where_to_look(errors.said) if nature in (Nature.DEPENDENCY, Nature.ANSWER) else ""
            where = f"{look}{near or advice}{errors.lately}"
            return f"{why}: {errors.top}", f"{where}; the most frequent error is {errors.top}"
    return None


def against_more(diagnosis: Diagnosis, *, strained: bool, own_release_judged: bool = False) -> list[str]:
    """Why only a person may say that more pods help, although nothing rules it out. `own_release_judged`: whether the last rollout
    brought it was asked before."""
    errors = Errors(diagnosis)
    unread = f"whether the errors speak of something else is not known: {errors.unknown}"
    doubts = [unread] if errors.unknown else []
    doubts += [errors.place.text] if errors.place is not None else []
    natures = OF_OTHERS - ({Nature.ANSWER} if strained and errors.only_late else set())
    lines = errors.count(*natures)
    if errors.used_up:
        doubts.append(
            f"connections, a pool or a quota are used up, and more pods take more of them: {errors.used_up}"
        )
    elif enough(lines, errors.total):
        doubts.append(
            f"{count(lines, 'error line')} of {errors.total:,} speak of something else: {errors.of(natures)}"
        )
    elif warned := errors.warned(natures):
        doubts.append(f"the logs speak of something else: {warned}")
    elif other := errors.of_another_side:
        doubts.append(
            f"the errors name no fault of the program and speak of another side, which more pods ask for more: {other}"
        )
    if errors.stalled and not errors.used_up:
        doubts.append(f"the database is what is slow, and more pods ask it for more: {errors.stalled}")
    if errors.memory_full:
        full = "the pods' own memory is full, which more pods do not change (more heap may, or what fills it)"
        doubts.append(f"{full}: {errors.memory_full}")
    changes = diagnosis.finding("changes.recent")
    asked = ("lately",) if own_release_judged else ("lately", "released")
    told = [changes.data.get(which) for which in asked] if changes is not None else []
    doubts += about_neighbours(diagnosis)
    return [*doubts, *(f"what changed {change} may have brought it" for change in told if change)]
