"""The tables of docs/reference.md that are made from the code; `python -m tests.unit.docs.tables` writes them anew.

A test compares them, so a setting, command, route, gate or metric cannot change without its line in the reference.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import typer.main
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from rich.console import Console

from app.cli import app as commands
from app.demo import simulated
from app.domain.decision import FOLLOWS, Code
from app.flow.upkeep.views import parameters
from app.main import Parts, build
from app.notify.console import ConsoleClient
from app.observe.metrics import Metrics
from app.policy.decide import GATES
from app.policy.load import load_dir
from app.policytools.rbac import Account, as_yaml, namespaces_of
from app.setting_texts import PREFIX
from app.settings import CREDENTIALS, FILES, Settings
from remediations import CATALOGUE
from tests.unit.policy.cases import facts_of, policy_of, step_of

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "docs" / "reference.md"
README = ROOT / "README.md"
PROCEDURES = ROOT / "docs" / "procedures.md"
Rows = Iterable[Sequence[str]]


def settings() -> Rows:
    """Every setting with its default."""
    yield "setting", "default", "what it is"
    for name, field in Settings.model_fields.items():
        default = "" if field.default in ("", None) else f"`{field.default}`"
        text = str(field.description)
        if name in FILES:
            text += f"; {'secret, ' if name in CREDENTIALS else ''}also as `{PREFIX}{name.upper()}_FILE`"
        yield f"`{PREFIX}{name.upper()}`", default, text


def command_list() -> Rows:
    """Every command with its arguments."""
    yield "command", "what it does"
    for words, command in walk():
        yield f"`{' '.join(('remediator', *words, *_usage(command)))}`", first_sentence(command.help or "")


def walk() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands with the words that name them."""
    root = typer.main.get_command(commands)
    queue: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while queue:
        words, command = queue.pop(0)
        if hasattr(command, "list_commands"):
            if command.invoke_without_command and words:
                yield words, command
            context = typer.Context(command)
            names = sorted(command.list_commands(context))
            queue += [((*words, name), command.get_command(context, name)) for name in names]
        else:
            yield words, command


def _usage(command: click.Command) -> list[str]:
    words = []
    for param in command.params:
        if param.param_type_name == "argument":
            name = str(param.metavar or param.name).upper()
            words.append(name if param.required else f"[{name}]")
        elif param.required:
            words += [param.opts[0], str(param.metavar or param.name).upper()]
    return words


async def routes() -> Rows:
    """Every route with the statuses that it can answer."""
    rows: list[Sequence[str]] = [("route", "answers", "what it does")]
    for path, item in (await document())["paths"].items():
        for method, operation in item.items():
            text = first_sentence(operation.get("description") or operation["summary"])
            rows.append((f"`{method.upper()} {path}`", ", ".join(sorted(operation["responses"])), text))
    return rows


async def document() -> dict[str, Any]:
    """The OpenAPI document of the whole service."""
    with tempfile.TemporaryDirectory() as folder:
        client = ConsoleClient(Console(file=io.StringIO()))
        given = Settings(
            state_dir=Path(folder), policy_dir=ROOT / "policies", cluster="simulated", tokens=None
        )
        parts = Parts(client=client, make_engine=_no_engine, cluster=simulated().cluster)
        service = await build(given, parts)
        found: dict[str, Any] = service.app.openapi()
        await service._closing.aclose()
        return found


class _Idle:
    """An engine that is never started."""


def _no_engine(_timeline: Any) -> Any:
    return _Idle()


def gates() -> Rows:
    """Every gate, in the order in which they are evaluated and shown."""
    yield "gate", "what it does", "reasons"
    policy = policy_of()
    answers = [gate(_case(policy)) for gate in GATES]
    for gate, answer in zip(GATES, answers, strict=True):
        yield f"`{answer.gate}`", first_sentence(gate.__doc__ or ""), _codes(gate)


def _case(policy: Any) -> Any:
    from app.policy.facts import Case

    rule = policy.rules[0]
    return Case(policy, rule, step_of(), facts_of(policy, rule))


def _codes(gate: Callable[..., Any]) -> str:
    """The codes that the gate names, or what it uses of its module, and `unknown_fact` where it can be closed by one."""
    module = inspect.getmodule(gate)
    assert module is not None
    text = inspect.getsource(module)
    parts = {name: node for node in ast.parse(text).body for name in _defines(node)}
    used, left = "", [gate.__name__]
    while left:
        node = parts.pop(left.pop(), None)
        if node is not None:
            used += ast.get_source_segment(text, node) or ""
            left += [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    found = {Code[name].value for name in re.findall(r"Code\.([A-Z_]+)", used)} - {Code.ALLOWED.value}
    if ".unknown(" in used:
        found.add(Code.UNKNOWN_FACT.value)
    return ", ".join(f"`{code}`" for code in sorted(found))


def _defines(node: ast.stmt) -> list[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    return [t.id for t in getattr(node, "targets", []) if isinstance(t, ast.Name)]


def consequences() -> Rows:
    """Every reason with what an alert's incident is by it, and who is called."""
    yield "reason", "the incident is", "is called"
    for code, (states, calls) in FOLLOWS.items():
        yield f"`{code.value}`", " or ".join(states), calls.value


def metrics() -> Rows:
    """Every metric with its labels."""
    yield "metric", "type", "labels", "what it tells"
    registry = CollectorRegistry()
    for one in sorted(_collectors(Metrics(registry)), key=lambda m: m._name):
        name = f"{one._name}_total" if one._type == "counter" else one._name
        labels = ", ".join(f"`{label}`" for label in one._labelnames)
        yield f"`{name}`", one._type, labels, one._documentation


def _collectors(held: Metrics) -> list[Any]:
    return [value for value in vars(held).values() if isinstance(value, MetricWrapperBase)]


def first_sentence(text: str) -> str:
    """Up to the first full stop, on one line, without it."""
    return re.split(r"\.(?:\s|$)", " ".join(text.split()), maxsplit=1)[0]


def markdown(rows: Rows) -> str:
    """A table."""
    head, *rest = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *rest]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


async def tables() -> dict[str, str]:
    """All tables by the name that stands in their marker."""
    return {
        "settings": markdown(settings()),
        "commands": markdown(command_list()),
        "routes": markdown(await routes()),
        "gates": markdown(gates()),
        "consequences": markdown(consequences()),
        "metrics": markdown(metrics()),
    }


def placed(text: str, made: dict[str, str]) -> str:
    """The document with each table between its markers."""
    for name, table in made.items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- /table -->)", re.DOTALL)
        text, count = pattern.subn(lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"{count} places for the table {name}")
    return text


def orders() -> Rows:
    """Every parameter of every procedure that an order may give."""
    yield "procedure", "parameter", "type", "default", "what it is"
    for handler in CATALOGUE.values():
        offered = parameters(handler.params, ()) if handler.procedure else ()
        for one in (one for one in offered if one["name"] not in handler.fixed_params):
            default = "required" if one["required"] else f"`{json.dumps(one['default'])}`"
            yield f"`{handler.name}`", f"`{one['name']}`", one["type"], default, one["about"]


def roles() -> str:
    """What `remediator rbac` prints for the shipped policy, as the README shows it."""
    policy = load_dir(ROOT / "policies", CATALOGUE)
    return as_yaml(policy, CATALOGUE, namespaces_of(policy), Account())


def with_roles(readme: str) -> str:
    """The README with the roles in its block rbac.yaml."""
    pattern = re.compile(r"(^```yaml\n# rbac\.yaml\n).*?(^```$)", re.DOTALL | re.MULTILINE)
    made, count = pattern.subn(lambda m: f"{m[1]}{roles()}{m[2]}", readme)
    if count != 1:
        raise ValueError(f"the README has {count} places for the roles")
    return made


async def _main() -> None:
    README.write_text(with_roles(README.read_text(encoding="utf-8")), encoding="utf-8")
    REFERENCE.write_text(placed(REFERENCE.read_text(encoding="utf-8"), await tables()), encoding="utf-8")
    made = {"orders": markdown(orders())}
    PROCEDURES.write_text(placed(PROCEDURES.read_text(encoding="utf-8"), made), encoding="utf-8")
    sys.stderr.write(f"{REFERENCE} and {PROCEDURES} are up to date\n")


if __name__ == "__main__":
    import asyncio

    asyncio.run(_main())
