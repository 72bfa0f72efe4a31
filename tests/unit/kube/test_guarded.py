"""A write is asked about right before it goes out, and one whose answer is old by then does not go out."""

from __future__ import annotations

import pytest

from app.domain.errors import ClusterUnavailable
from app.kube import guarded
from app.kube.guarded import Guarded
from tests.unit.kube.test_client import D, Server


async def _yes() -> None:
    return


async def test_promise_10_a_process_that_was_stopped_between_its_last_look_and_the_write_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pause may have been ordered meanwhile, or the alert may be gone: all is looked at again."""
    monkeypatch.setattr(guarded, "MAX_AGE", -1.0)
    server = Server((200, {"kind": "Deployment"}), (200, {"kind": "Deployment"}))
    async with server.cluster() as cluster:
        asked = Guarded(cluster, _yes)
        with pytest.raises(ClusterUnavailable, match="not sent: it was looked at too long ago"):
            await asked.patch(*D, [])
        with pytest.raises(ClusterUnavailable, match="not sent"):
            await asked.delete_pod("rag7", "web-1", "uid")
        assert server.seen == []
        await asked.patch(*D, [], dry_run=True)
        await cluster.patch(*D, [])  # nobody was asked, and nothing of the write before is left
    assert len(server.seen) == 2


async def test_a_write_that_was_just_asked_about_goes_out() -> None:
    server = Server((200, {"kind": "Deployment"}))
    async with server.cluster() as cluster:
        await Guarded(cluster, _yes).patch(*D, [])
    assert [request.method for request in server.seen] == ["PATCH"]
