"""Load: policy files -> one `Policy`, or everything that is wrong with them.

Called by the service at start and on reload (a refused reload keeps the policy in force), by `policy check`, and by tests.
`load_policy` is given texts; `read_dir` is the only place of this package that reads files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath

from app.domain.errors import BadInput
from app.domain.json import canonical
from app.domain.procedure import Procedure
from app.domain.text import file_fault
from app.policy.consistency import Handler, Placed, head_faults, order_faults, rule_faults
from app.policy.document import Document, RuleDocument, build_policy, build_rule
from app.policy.escalation import escalation_faults
from app.policy.faults import PolicyFault, PolicyInvalid
from app.policy.model import Policy
from app.policy.source import MAX_BYTES, Path, Source, cut_off, never, read_source
from app.policy.written import validated

_SHARED = frozenset({"version", "rules"})
"""Keys that every file may have."""


@dataclass(frozen=True, slots=True)
class _Loose:
    """A rule that is valid in itself, not yet resolved."""

    source: Source
    path: Path
    written: RuleDocument


def load_policy(
    texts: Mapping[str, str], catalogue: Mapping[str, Handler], over: Callable[[], bool] = never
) -> Policy:
    """Merge the files in the order of their names and check them.

    `catalogue` has the remediations by name. Raises PolicyInvalid with all faults and nothing else, whatever the texts are; and TimeoutError
    soon after it is `over`, for whoever waits no longer. Pure, so it may run in a thread: the worst file takes seconds.
    """
    faults: list[PolicyFault] = []
    sources = [read_source(file, texts[file], over) for file in sorted(texts)]
    head = _merged_head(sources, faults)
    loose = [rule for source in sources for rule in _rules(source, faults, catalogue, over)]
    faults += [fault for source in sources for fault in source.faults]
    if head.scope is None and not faults:
        first = sources[0].file if sources else "policy"
        faults.append(PolicyFault(first, 1, 1, 'no file has a "scope": say which namespaces it may act in'))
    rules = [
        Placed(r.source, r.path, r.written, build_rule(r.written, head, _procedure(catalogue, r.written)))
        for r in loose
    ]
    for placed in rules:
        cut_off(over)
        faults += rule_faults(placed, head.scope, catalogue)
    faults += order_faults(rules)
    faults += _escalation(sources, head, {placed.rule.name for placed in rules})
    if faults or head.scope is None:
        raise PolicyInvalid(tuple(sorted(set(faults))))
    places = {p.rule.name: f"{p.source.file}:{p.source.place(p.path).line}" for p in rules}
    return build_policy(head, head.scope, [placed.rule for placed in rules], places)


def _procedure(catalogue: Mapping[str, Handler], rule: RuleDocument) -> Procedure | None:
    handler = catalogue.get(rule.remediation)
    return None if handler is None else handler.procedure


def load_dir(folder: FilePath, catalogue: Mapping[str, Handler]) -> Policy:
    """Load the policy of a folder. Raises PolicyInvalid, or BadInput when the folder has none or cannot be read."""
    return load_policy(read_dir(folder), catalogue)


def read_dir(folder: FilePath) -> dict[str, str]:
    """The texts of `*.yaml` and `*.yml` in a folder by file name, `*.test.*` left out. Raises BadInput."""
    try:
        files = [f for f in sorted(folder.iterdir()) if f.suffix in (".yaml", ".yml") and f.is_file()]
        texts = {f.name: _text(f) for f in files if not f.stem.endswith(".test")}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"cannot read the policy folder: {file_fault(error)}", code="bad_policy", where=str(folder)
        ) from error
    if not texts:
        raise BadInput("no policy file (*.yaml) in the folder", code="bad_policy", where=str(folder))
    return texts


def _text(file: FilePath) -> str:
    """The text of one file. Of one that is too long to be parsed just so much that it is refused for that."""
    with file.open("rb") as stream:
        found = stream.read(MAX_BYTES + 1)
    return found.decode("utf-8", "strict" if len(found) <= MAX_BYTES else "replace")


def _merged_head(sources: list[Source], faults: list[PolicyFault]) -> Document:
    """What the files say for all rules; each key may stand in one file only."""
    merged: dict[str, object] = {"version": 1}
    said_in: dict[str, str] = {}
    for source in sources:
        if not isinstance(source.value, dict):
            if not source.faults:
                faults.append(source.fault((), "expected keys with values, such as version and rules"))
            continue
        plain = {key: value for key, value in source.value.items() if key != "rules"}
        head = validated(Document, plain, source, (), faults)
        if head is None:
            continue
        faults += head_faults(source, head)
        for key in sorted(plain.keys() - _SHARED):
            if key in said_in:
                faults.append(source.fault((key,), f'"{key}" is said in {said_in[key]} already', of_key=True))
            else:
                said_in[key], merged[key] = source.file, plain[key]
    return Document.model_validate_json(canonical(merged))


def _escalation(sources: list[Source], head: Document, names: set[str]) -> list[PolicyFault]:
    """Faults of whom to ask: the one block that names rules, which may stand in other files."""
    if head.escalation is None:
        return []
    said_in = [s for s in sources if isinstance(s.value, dict) and "escalation" in s.value]
    return [fault for source in said_in[:1] for fault in escalation_faults(source, head.escalation, names)]


def _rules(
    source: Source, faults: list[PolicyFault], catalogue: Mapping[str, Handler], over: Callable[[], bool]
) -> list[_Loose]:
    """The rules that are valid in themselves. Only a procedure is started without an alert."""
    written = source.value.get("rules", []) if isinstance(source.value, dict) else []
    if not isinstance(written, list):
        faults.append(source.fault(("rules",), "expected a list of rules"))
        return []
    found = []
    for at, plain in enumerate(written):
        cut_off(over)
        rule = validated(RuleDocument, plain, source, ("rules", at), faults)
        if isinstance(plain, dict) and plain.get("when") is None and not _is_procedure(plain, catalogue):
            faults.append(source.fault(("rules", at), 'the key "when" is missing'))
        elif rule is not None:
            found.append(_Loose(source, ("rules", at), rule))
    return found


def _is_procedure(rule: Mapping[str, object], catalogue: Mapping[str, Handler]) -> bool:
    handler = catalogue.get(str(rule.get("remediation")))
    return handler is not None and handler.procedure is not None
