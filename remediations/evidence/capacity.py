"""What else than the pods' own usage may be a sign of too little capacity: late answers, and errors about it. Called by the handlers.
Pure."""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.evidence import Diagnosis
from remediations.evidence.error_words import Nature
from remediations.evidence.pods import Errors
from remediations.evidence.usage import measured, percent, seconds

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
