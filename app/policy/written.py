"""Written values -> models: the one way in which a part of a YAML file becomes a `Block`, with the place of every fault.

Called by everything in this package that reads YAML: policies, their tests, assumptions of a replay. Pure.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from app.domain.json import canonical
from app.policy.block import Block
from app.policy.faults import PolicyFault, PolicyInvalid, sentence
from app.policy.source import Path, Source, read_source

M = TypeVar("M", bound=Block)


def validated(
    model: type[M], plain: object, source: Source, path: Path, faults: list[PolicyFault]
) -> M | None:
    """Validate as JSON: strict about types, while lists and words still become tuples and enumerations. Faults are
    added to `faults`; then the result is None."""
    try:
        return model.model_validate_json(canonical(plain))
    except ValidationError as error:
        for entry in error.errors():
            message, allowed = sentence(entry, model)
            where = (*path, *entry["loc"])
            faults.append(source.fault(where, message, allowed, of_key=entry["type"] == "extra_forbidden"))
        return None


def read_one(model: type[M], file: str, text: str) -> M:
    """One whole file as one model. Raises PolicyInvalid with all faults."""
    source = read_source(file, text)
    faults = list(source.faults)
    found = None if faults else validated(model, source.value, source, (), faults)
    if found is None:
        raise PolicyInvalid(tuple(sorted(set(faults))))
    return found
