"""The command `rbac`: the rights that a policy needs, printed for review and for `kubectl apply`. Reads files, talks to nobody."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import AsJson, give, write
from app.cli.policy import or_faults
from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.policy.load import load_dir
from app.policytools.rbac import Account, as_values, as_yaml, manifests, namespaces_of
from remediations import CATALOGUE


class Format(StrEnum):
    """How the rights are written."""

    YAML = "yaml"
    HELM = "helm"


class ModeSetting(StrEnum):
    """The setting MODE."""

    NORMAL = "normal"
    OBSERVE = "observe"


def rbac(
    policy: Annotated[
        Path,
        typer.Option(
            "--policy", metavar="DIR", envvar="REMEDIATOR_POLICY_DIR", help="Folder of the policy documents."
        ),
    ] = Path("policies"),
    form: Annotated[
        Format,
        typer.Option(
            "--format", help="yaml: manifests. helm: values for a chart that does not hold the policy."
        ),
    ] = Format.YAML,
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", help="One that a pattern of the scope stands for. Repeatable."),
    ] = None,
    account: Annotated[
        str, typer.Option("--service-account", metavar="NS/NAME", help="Whom the roles are bound to.")
    ] = "alert-remediator/alert-remediator",
    mode: Annotated[
        ModeSetting,
        typer.Option("--mode", envvar="REMEDIATOR_MODE", help="observe: no right to change anything."),
    ] = ModeSetting.NORMAL,
    as_json: AsJson = False,
) -> None:
    """Print the roles that the rules of a policy need: one a namespace, each right with the remediations that need it."""
    loaded = or_faults(lambda: load_dir(policy, CATALOGUE), as_json=as_json)
    if mode is ModeSetting.OBSERVE:
        loaded = loaded.model_copy(update={"mode": Mode.OBSERVE})
    spaces = namespaces_of(loaded, namespace or ())
    owner, slash, name = account.partition("/")
    if not (owner and slash and name):
        raise BadInput("expected NAMESPACE/NAME", code="bad_account", where="--service-account")
    to = Account(owner, name)
    if as_json:
        give(manifests(loaded, CATALOGUE, spaces, to))
    elif form is Format.HELM:
        write(as_values(loaded, CATALOGUE, spaces).rstrip("\n"))
    else:
        write(as_yaml(loaded, CATALOGUE, spaces, to).rstrip("\n"))
