"""The quick start's release that does not start, with the rule that the guide shows, on the real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.live.e2e.scene import Cast, Scene, Script
from tests.live.e2e.shop import BAD, GOOD, Shop
from tests.live.e2e.stage import scene
from tests.live.stack import FAULT
from tests.unit.docs.fences import blocks

pytestmark = pytest.mark.live


def _shown(shop: Shop) -> dict[str, Any]:
    """The guide's policy, about this namespace, and within seconds."""
    (block,) = blocks("yaml", documents=("docs/quick-start.md",))[1:]
    policy: dict[str, Any] = yaml.safe_load(block.text)
    (rule,) = policy["rules"]
    rule["params"]["known_good"] = "1s"
    quick = {"settle": "1s", "timeout": "60s", "poll": "1s"}
    return {**policy, "scope": {"namespaces": [shop.namespace]}, "verify": quick}


@scene(Cast(of_policy=_shown))
def test_the_guides_order_takes_back_a_release_that_does_not_start(s: Scene) -> Script:
    yield from s.opens()
    s.shop.wait_out_last_second()
    s.shop.deploy(BAD, **{FAULT: "image-pull"})
    yield lambda: any("ImagePullBackOff" in json.dumps(pod["status"]) for pod in s.shop.pods())
    target = f"{s.shop.namespace}/Deployment/web"
    code, said = yield from s.ask(
        "trigger", "pod-restarting", "--target", target, "--reason", "the release does not start"
    )
    assert code == 0, said
    yield s.ended("fixed")
    assert s.shop.container["image"] == GOOD
    code, said = yield from s.ask("explain", s.run["incident"])
    assert code == 0, said
    assert "image" in said
    assert [(m.verb, m.target) for m in s.written] == [("patch", "deployments")]
    code, said = yield from s.ask("undo", s.run["id"])
    assert code == 0, said
    yield lambda: s.shop.container["image"] == BAD
