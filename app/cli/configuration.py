"""The commands `configuration diff` and `configuration restore`: a person reads an encrypted backup with their identity and puts it back.

They run on the person's machine with the person's kubeconfig; the service holds no identity and takes no part. A restore shows the difference
first and asks.
"""

from __future__ import annotations

import asyncio
import stat
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from app.backup.configuration.lines import Entry
from app.backup.configuration.restore import Difference, Restorer, Word, left_behind, read_backup
from app.backup.configuration.sealed import identities_in
from app.cli.output import AsJson, counted, give, progress, say, write
from app.domain.errors import BadInput
from app.kube.client import KubeCluster

app = typer.Typer(
    no_args_is_help=True, help="Compare an encrypted configuration backup with a cluster, and put it back."
)

_BAD = (Word.REFUSED, Word.FAILED)

File = Annotated[Path, typer.Argument(help="The backup as it is in the store: NAME.jsonl.gz.age.")]
Identity = Annotated[
    Path, typer.Option("--identity", help="File with the identity of age (AGE-SECRET-KEY-...).")
]
Namespace = Annotated[
    str, typer.Option("--namespace", help="Put it into this namespace. Default: the backup's.")
]
Context = Annotated[
    str, typer.Option("--context", help="Context of the kubeconfig. Default: the current one.")
]


@app.command()
def diff(
    file: File, identity: Identity, namespace: Namespace = "", context: Context = "", as_json: AsJson = False
) -> None:
    """Show what a restore would create and change (server-side dry run). It changes nothing. Exit 1 when something is refused or fails."""
    entries, into = _read(file, identity, namespace)
    found = _compared(context, into, entries, quiet=as_json)
    _show(found, into, as_json=as_json)
    if any(d.word in _BAD for d in found):
        raise typer.Exit(1)


@app.command()
def restore(
    file: File,
    identity: Identity,
    namespace: Namespace = "",
    context: Context = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the difference, ask, and put back what differs, in the backup's order. Nothing is deleted; it can be repeated."""
    entries, into = _read(file, identity, namespace)
    found = _compared(context, into, entries, quiet=as_json)
    todo = [d for d in found if d.word is not Word.SAME]
    if not as_json:
        _show(found, into, as_json=False)
    elif not yes:
        _tell(found, say)
    if todo and not yes:
        typer.confirm(f"Put {len(todo)} objects back into {into}?", abort=True, err=True)
    with progress("objects put back", len(todo), quiet=as_json) as told:
        back = counted([d.entry for d in todo], told)
        done = asyncio.run(_restoring(context, into, lambda r: r.put_back(back)))
    if as_json:
        give({"namespace": into, "objects": [_row(d) for d in done]})
    words = Counter(d.word for d in done)
    put = words[Word.CREATE] + words[Word.CHANGE]
    say(
        f"{put} objects were put back into {into}, {words[Word.REFUSED]} were refused, {words[Word.FAILED]} failed"
    )
    for one in (d for d in done if d.word in _BAD):
        say(_line(f"{one.word.value}: {one.name}: {one.why}"))
    if any(d.word in _BAD for d in done):
        raise typer.Exit(1)


def _compared(context: str, into: str, entries: list[Entry], *, quiet: bool) -> list[Difference]:
    with progress("objects compared", len(entries), quiet=quiet) as told:
        return asyncio.run(_restoring(context, into, lambda r: r.compare(counted(entries, told))))


def _read(file: Path, identity: Path, namespace: str) -> tuple[list[Entry], str]:
    if identity.exists() and stat.S_IMODE(identity.stat().st_mode) & 0o077:
        say(f"warning: {identity} can be read by others")
    entries: list[Entry] = []
    reader = read_backup(file, identities_in(identity), entries.append)
    into = namespace or reader.namespace
    say(f"{reader.objects} objects of {reader.namespace}, backed up {reader.started}; compared with {into}")
    for name in left_behind(entries, reader.namespace, into):
        say(
            f"warning: RoleBinding {name} gives its rights to accounts of {reader.namespace}, also in {into}: change its subjects"
        )
    return entries, into


async def _connected(context: str) -> KubeCluster:
    try:
        return await KubeCluster.from_kubeconfig(context=context or None)
    except BadInput as error:
        raise typer.BadParameter(error.message) from None


async def _restoring(
    context: str, namespace: str, act: Callable[[Restorer], Awaitable[list[Difference]]]
) -> list[Difference]:
    """Do this on the cluster of the kubeconfig's context."""
    cluster = await _connected(context)
    try:
        return await act(Restorer(cluster, namespace))
    finally:
        await cluster.close()


def _show(found: list[Difference], namespace: str, *, as_json: bool) -> None:
    if as_json:
        give({"namespace": namespace, "objects": [_row(d) for d in found]})
        return
    _tell(found, write)


def _tell(found: list[Difference], to: Callable[[str], None]) -> None:
    """Line by line, each line of ours alone: no text of an object or of the API server begins one."""
    for one in found:
        if one.word is Word.SAME and not one.stays:
            continue
        to(_line(f"{one.word.value:<8}{one.name}{f': {one.why}' if one.why else ''}"))
        for path in one.paths:
            to(_line(f"          {path}"))
        for path in one.stays:
            to(_line(f"          stays: {path} (the backup does not know it)"))
    words = Counter(d.word for d in found)
    say(", ".join(f"{words[word]} {word.value}" for word in Word))


def _line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\t", "\\t")


def _row(one: Difference) -> dict[str, object]:
    return {
        "object": one.name,
        "word": one.word.value,
        "paths": list(one.paths),
        "stays": list(one.stays),
        "why": one.why,
    }
