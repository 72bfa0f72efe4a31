"""The service as `remediator serve` runs it, except that it kills itself at a chosen instant: a kill -9 from within. With VICTIM_FREEZES=1 it
stops itself instead (SIGSTOP), and goes on there with the next SIGCONT.

VICTIM_DEATH says when, as WORD:N for the N-th time of

    before-commit  a transaction of the store is complete and not committed
    after-commit   it is committed, and nobody has been told
    dry-run        the API server has accepted the dry run
    before-patch   the mutation is about to be sent
    patched        the API server has carried it out, the answer has arrived
    event          the Kubernetes Event is written
    read-after     an object was read after the mutation, so: in the verification
    posted         Slack has stored a message, the answer has arrived
    edited         Slack has edited the parent message
    before-edit    the edit is about to be sent: whatever is looked at before a call has been

or never.

The counting begins with SIGUSR1, or at once with VICTIM_ARMED=1. Started by the tests, never by people.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.domain.cluster import MARKER
from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.client import KubeCluster
from app.main import Parts
from app.notify.client import Found, Posted
from app.notify.message import Message
from app.notify.slack import SlackClient
from app.observe import logs
from app.observe.system import SystemClock
from app.outside import slack_client
from app.serving import serving
from app.settings import Settings, load_settings
from app.store.writer import StoreHooks


class Fate:
    """Counts the instants of the word it was given; at the right one the process is gone, or stands still."""

    def __init__(self, death: str, *, armed: bool, freezes: bool = False) -> None:
        self._word, _, number = death.partition(":")
        self._signal = signal.SIGSTOP if freezes else signal.SIGKILL
        self._left = int(number or 1)
        self.armed = armed

    def arm(self) -> None:
        """Commits count from now on."""
        self.armed = True

    def meets(self, word: str) -> None:
        """One instant of this word."""
        if word != self._word or not self.armed:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._signal)


class MortalCluster(KubeCluster):
    """The real client, dying around its writes."""

    fate: Fate

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        """As the client's."""
        if not dry_run:
            self.fate.meets("before-patch")
        answer = await super().patch(kind, namespace, name, patch, dry_run=dry_run)
        self.fate.meets("dry-run" if dry_run else "patched")
        return answer

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[dict[str, Any]], *, dry_run: bool = False
    ) -> Obj:
        """As the client's."""
        if not dry_run:
            self.fate.meets("before-patch")
        answer = await super().patch_status(kind, namespace, name, patch, dry_run=dry_run)
        self.fate.meets("dry-run" if dry_run else "patched")
        return answer

    async def delete_secret(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """As the client's."""
        if not dry_run:
            self.fate.meets("before-patch")
        await super().delete_secret(namespace, name, uid, dry_run=dry_run)
        self.fate.meets("dry-run" if dry_run else "patched")

    async def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        """As the client's."""
        answer = await super().get(kind, namespace, name)
        if MARKER in answer["metadata"].get("annotations", {}):
            self.fate.meets("read-after")
        return answer

    async def create_event(self, event: Obj) -> None:
        """As the client's."""
        await super().create_event(event)
        self.fate.meets("event")


class MortalClient:
    """Slack's door, dying after its writes."""

    def __init__(self, client: SlackClient, fate: Fate) -> None:
        self._client, self._fate = client, fate

    def knows(self, posted: Posted) -> bool:
        """As the door's."""
        return self._client.knows(posted)

    async def post(self, channel: str, message: Message, thread_ts: str | None, client_tag: str) -> Posted:
        """As the door's."""
        posted = await self._client.post(channel, message, thread_ts, client_tag)
        self._fate.meets("posted")
        return posted

    async def update(self, posted: Posted, message: Message, client_tag: str) -> Posted:
        """As the door's."""
        self._fate.meets("before-edit")
        answer = await self._client.update(posted, message, client_tag)
        self._fate.meets("edited")
        return answer

    async def find(self, channel: str, thread_ts: str | None, tag: str, since: datetime) -> Found:
        """As the door's."""
        return await self._client.find(channel, thread_ts, tag, since)


async def _parts(settings: Settings, fate: Fate) -> Parts:
    clock = SystemClock()
    # Named, because the library has read the variable when it was imported, and that may be before our birth.
    cluster = await MortalCluster.from_kubeconfig(os.environ["KUBECONFIG"])
    assert isinstance(cluster, MortalCluster)
    cluster.fate = fate
    client = slack_client(settings, clock)
    assert client is not None
    hooks = StoreHooks(
        before_commit=lambda: fate.meets("before-commit"), after_commit=lambda: fate.meets("after-commit")
    )
    return Parts(clock=clock, cluster=cluster, client=MortalClient(client, fate), hooks=hooks)


async def _main() -> None:
    logs.configure()
    fate = Fate(
        os.environ.pop("VICTIM_DEATH"),
        armed=os.environ.pop("VICTIM_ARMED", "") == "1",
        freezes=os.environ.pop("VICTIM_FREEZES", "") == "1",
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, fate.arm)
    settings = load_settings()
    async with serving(settings, await _parts(settings, fate)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
