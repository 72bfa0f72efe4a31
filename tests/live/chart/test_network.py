"""Where the service may connect to: what settings, secrets and the policy name is open, or the notes say what is not."""

from __future__ import annotations

import pytest

from tests.live.chart.helm import NAME, Helm

pytestmark = pytest.mark.live
CIDRS = ("--set", "networkPolicy.apiServer.cidrs={10.0.0.1/32}")


@pytest.mark.parametrize("secret", ["STATUS_PAGE_URL", "SLACK_BOT_TOKEN", "PAGERDUTY_ROUTING_KEY"])
def test_what_a_secret_says_where_to_post_to_is_reached(helm: Helm, secret: str) -> None:
    found = helm.template(*CIDRS, "--set", f"secret.keys.{secret}=x").of("NetworkPolicy", NAME)
    assert {"ports": [{"port": 443, "protocol": "TCP"}]} in found["spec"]["egress"]
