"""Owns the proof that the reaction bench measures on the real API server: its releases are rolled back by themselves."""

from __future__ import annotations

import pytest

from tests.bench import react
from tests.live.stack import ALL, ControlPlane

pytestmark = pytest.mark.live


@pytest.mark.skipif(not ALL, reason="takes half a minute; make live runs it")
@pytest.mark.usefixtures("control_plane")  # says what is missing where there is none
def test_the_reaction_bench_sees_each_write_on_the_real_api_server() -> None:
    """On a control plane of its own, as the bench does: what other tests leave behind may well be a reason to ask."""
    with ControlPlane() as plane:
        seconds = react.measure_live(plane, 2)
    assert len(seconds) == 2
    assert min(seconds) > 0
