"""What a browser is told by every answer, and the page of the reference."""

from __future__ import annotations

import pytest

from tests.unit.web.rig import Rig, bearer


@pytest.mark.parametrize(
    ("path", "status"),
    [("/healthz", 200), ("/docs", 200), ("/openapi.json", 200), ("/nowhere", 404), ("/api/v1/runs", 401)],
)
async def test_every_answer_forbids_a_browser_to_guess_keep_frame_or_load_more(
    rig: Rig, path: str, status: int
) -> None:
    async with rig.client() as client:
        answer = await client.get(path)
    assert answer.status_code == status
    headers = answer.headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert (headers["x-frame-options"], headers["referrer-policy"]) == ("DENY", "no-referrer")


async def test_the_reference_page_names_every_route_and_loads_nothing(rig: Rig) -> None:
    async with rig.client() as client:
        page = (await client.get("/docs", headers=bearer("read"))).text
    for path, item in rig.app.openapi()["paths"].items():
        for method in item:
            assert f"<h2>{method.upper()} {path}</h2>" in page
    for loading in ("<script", "<link", "<style", "src=", "http://", "https://"):
        assert loading not in page
