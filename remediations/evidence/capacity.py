"""What else than the pods' own usage may be a sign of too little capacity: late answers, and errors about it; and what speaks against more pods: what most
errors are about, and what changed. Called by the handlers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from app.domain.evidence import Diagnosis
from remediations.evidence.directions import where_to_look
from remediations.evidence.error_words import Nature
from remediations.evidence.pods import Errors, enough
from remediations.evidence.usage import about_neighbours, count, measured, percent, seconds

_BY_WORDS = "errors about capacity"


def other_signs(
    diagnosis: Diagnosis, errors: Errors, *, latency_high: float, errors_high: float
) -> tuple[list[str], list[str]]:
    """The signs, and what was measured and is none, each with its threshold. What the pods wait for makes them slow as well, and words are
    only words."""
    share = errors.share(Nature.CAPACITY) if errors.total else None
    measures = (
        ("latency", measured(diagnosis, "metrics.latency"), latency_high, seconds, ""),
        (_BY_WORDS, share, errors_high, percent, " of all"),
    )
    signs, seen = list[str](), list[str]()
    for name, value, high, text, of in measures:
        if value is not None:
            text_of = f"{name} {text(value)}{of} (high from {text(high)})"
            (signs if value >= high else seen).append(text_of)
    return signs, seen


def not_measured(signs: Sequence[str], measures: Sequence[str]) -> str:
    """Why a person has to say that the size is too small where nothing measured of the pods says so."""
    said = "the errors' words speak" if signs[-1].startswith(_BY_WORDS) else "latency speaks"
    return f"only {said} of too little capacity ({'; '.join(measures) or 'nothing could be measured'})"


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
