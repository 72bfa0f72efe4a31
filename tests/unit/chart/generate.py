"""The parts of the chart that are made from the code; `python -m tests.unit.chart.generate` writes them anew.

The table of rights with the words of a policy, the schema's definitions (settings, secrets, what the cluster takes), and the reference of all
values. A test compares them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic.fields import FieldInfo

from app.domain.decision import Mode
from app.intake.auth import Scope
from app.policytools.rbac import rights_table
from app.policytools.schema import json_schema
from app.settings import CREDENTIALS, FILES, MEMBER, SLACK_ID, URLS, Settings
from remediations import CATALOGUE
from tests.unit.chart.kinds import DEFS, PORT

CHART = Path(__file__).resolve().parents[3] / "charts" / "alert-remediator"
SCHEMA, RIGHTS, REFERENCE = CHART / "values.schema.json", CHART / "files" / "rights.yaml", CHART / "README.md"
OURS = frozenset({"state_dir", "policy_dir", "cluster", "kube_context", "port", "replica"})
"""Settings that the chart sets itself, from other values."""
_HOST = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
_HERE = r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])"
"""Plain http is for a loopback address only: a provider in a container beside."""
PLACE = f"^(https://{_HOST}(:{PORT})?|http://{_HERE}(:{PORT})?)"
"""How the address of a provider or of ours begins, as `app.intake.oidc` takes it."""
_MEMBER = f"({MEMBER.pattern})"
_SCOPES = "|".join(scope.value for scope in Scope if scope is not Scope.INGEST)
_GROUP = rf'"([^"\\]|\\.)+"\s*:\s*"({_SCOPES})(\+({_SCOPES}))*"'


def _list(entry: str) -> str:
    """Entries between commas, with blanks and empty ones, as `listed` takes them apart."""
    return f"^ *({entry})? *(, *({entry})? *)*$"


_FORMS = {
    "slack_operators": _list(SLACK_ID.pattern),
    "people": _list(rf"{_MEMBER}( *\+ *{_MEMBER})*"),
    "oidc_issuer": rf"{PLACE}(/[^ ?#]*)?$|^$",
    "oidc_groups": rf"^\s*(\{{\s*{_GROUP}(\s*,\s*{_GROUP})*\s*\}}\s*)?$",
}
"""Forms of single settings that the service refuses at its start; Go's expressions look neither ahead nor back."""
_WITH_ISSUER = {
    "properties": {
        "settings": {"properties": {"OIDC_ISSUER": {"minLength": 1}}, "required": ["OIDC_ISSUER"]}
    },
    "required": ["settings"],
}
_LOGIN = [
    {
        "if": _WITH_ISSUER,
        "then": {
            "properties": {
                "settings": {
                    "required": ["OIDC_CLIENT_ID", "OIDC_GROUPS", "EXTERNAL_URL"],
                    "properties": {
                        "OIDC_CLIENT_ID": {"minLength": 1},
                        "OIDC_GROUPS": {"minLength": 1},
                        "EXTERNAL_URL": {"pattern": f"{PLACE}/*$"},
                        "OIDC_SCOPES": {"pattern": "^(.*\\s)?openid(\\s.*)?$"},
                    },
                },
                "secret": {
                    "properties": {"keys": {"required": ["OIDC_CLIENT_SECRET"]}},
                    "required": ["keys"],
                },
            },
            "required": ["secret"],
        },
        "else": {
            "properties": {
                "settings": {"properties": {n: {"maxLength": 0} for n in ("OIDC_CLIENT_ID", "OIDC_GROUPS")}},
                "secret": {"properties": {"keys": {"properties": {"OIDC_CLIENT_SECRET": False}}}},
            }
        },
    }
]
"""What a login at an OpenID provider needs, and what means nothing without one."""


def values() -> dict[str, Any]:
    """The defaults."""
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    return found


def schema_text() -> str:
    """The schema with the parts that the settings say."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    settings = {
        n.upper(): _setting(n, f) for n, f in Settings.model_fields.items() if n not in {*CREDENTIALS, *OURS}
    }
    keys = {name.upper(): {"$ref": "#/$defs/key", "description": _text(name)} for name in FILES}
    schema["allOf"] = [part for part in schema["allOf"] if "OIDC" not in json.dumps(part)] + _LOGIN
    schema["$defs"] = {
        **DEFS,
        "settings": _object(
            "Settings by name, without the prefix REMEDIATOR_; secrets stand in the Secret.", settings
        ),
        "secretKeys": _object("Which key of the Secret has which secret, by the setting's name.", keys),
    }
    return json.dumps(schema, indent=2) + "\n"


def _object(text: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": text,
        "additionalProperties": False,
        "properties": dict(properties),
    }


def _text(name: str) -> str:
    return str(Settings.model_fields[name].description)


def _setting(name: str, field: FieldInfo) -> dict[str, Any]:
    found: dict[str, Any] = {"description": str(field.description)}
    if field.annotation is int:
        found["type"] = "integer"
        for bound in field.metadata:
            if (least := getattr(bound, "ge", None)) is not None:
                found["minimum"] = least
            if (most := getattr(bound, "le", None)) is not None:
                found["maximum"] = most
    elif choices := get_args(field.annotation):
        found["enum"] = [c for c in choices if isinstance(c, str)]
    else:
        found["type"] = "string"
    if name == "host":
        found["enum"] = [
            "0.0.0.0",
            "::",
        ]  # nobody reaches a pod that listens on loopback, and no other address of its is known before
    if name in _FORMS:
        found["pattern"] = _FORMS[name]
    elif name in URLS:
        found["pattern"] = f"^(https?://([^/?# ]*@)?{_HOST}(:{PORT})?([/?][^ ]*)?)?$"
    return found


def rights_text() -> str:
    """The table of rights."""
    head = "# Made from the code by `python -m tests.unit.chart.generate`: which rights each remediation needs, and what the chart can see of a policy.\n"
    table = {**rights_table(CATALOGUE), "policy": _policy_words()}
    return head + yaml.safe_dump(table, sort_keys=False, width=120)


def _policy_words() -> dict[str, dict[str, list[str]]]:
    """What the chart can see of a policy by itself: the keys of a file and of a rule, and the words of its mode."""
    document = json_schema()
    rule = document["$defs"]["RuleDocument"]
    modes = {"file": document["properties"]["mode"]["enum"], "rule": [mode.value for mode in Mode]}
    return {
        name: {"keys": sorted(part["properties"]), "required": part["required"], "modes": modes[name]}
        for name, part in (("file", document), ("rule", rule))
    }


def reference_text() -> str:
    """The chart's README with the table of values."""
    rows = [
        "| value | default | what it is |",
        "| --- | --- | --- |",
        *_rows(json.loads(schema_text()), values()),
    ]
    table = "\n".join(rows)
    pattern = re.compile(r"(<!-- values -->\n).*?(<!-- /values -->)", re.DOTALL)
    text, count = pattern.subn(lambda m: f"{m[1]}{table}\n{m[2]}", REFERENCE.read_text("utf-8"))
    if count != 1:
        raise ValueError(f"the chart's README has {count} places for the values")
    return text


def _rows(schema: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    for path, part in walk(schema):
        default: Any = defaults
        for word in path:
            default = default.get(word) if isinstance(default, Mapping) else None
        if path == ("global",):
            continue
        shown = "" if default in (None, "", {}, []) else f"`{json.dumps(default)}`"
        text = str(part["description"]).replace("|", "\\|")
        if "enum" in part and len(part["enum"]) < 6:
            text += f" One of {', '.join(json.dumps(v) for v in part['enum'])}."
        yield f"| `{'.'.join(path)}` | {shown} | {text} |"


def walk(
    schema: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Every value that has no values inside, with its schema. Settings and secrets stand in the project's own reference."""
    for name, part in schema.get("properties", {}).items():
        if part.get("properties"):
            yield from walk(part, (*path, name))
        else:
            yield (*path, name), {**_referred(part), **part}


def _referred(part: Mapping[str, Any]) -> dict[str, Any]:
    """What the reference of a part leads to."""
    found: dict[str, Any] = json.loads(schema_text())["$defs"] if "$ref" in part else {}
    return found[part["$ref"].rpartition("/")[2]] if found else {}


def main() -> None:
    """Write them."""
    SCHEMA.write_text(schema_text(), "utf-8")
    RIGHTS.write_text(rights_text(), "utf-8")
    REFERENCE.write_text(reference_text(), "utf-8")
    sys.stderr.write(f"{CHART} is up to date\n")


if __name__ == "__main__":
    main()
