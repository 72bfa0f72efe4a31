"""The policy in force follows the files, whatever the store does, and the brake is always read."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.domain.decision import Mode
from app.domain.errors import BadInput, StoreUnavailable
from app.flow.upkeep import policies
from app.policy.load import load_policy
from app.store import people
from tests.unit.flow.keepers import BROKEN, HALF, Kept, without_store


@pytest.fixture(autouse=True)
def no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    without_store(monkeypatch)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


async def test_a_store_that_is_away_never_keeps_a_changed_policy_out_of_force(kept: Kept) -> None:
    await kept.look()
    first = kept.keeper().version
    kept.trail.away = True
    kept.edit("mode: auto", "mode: approve")
    with pytest.raises(StoreUnavailable):
        await kept.look()
    second = kept.keeper().version
    assert second != first
    kept.trail.away = False
    await kept.look()
    assert kept.trail.kept == [
        ("policy.loaded", {"version": first}),
        ("policy.loaded", {"version": second, "before": first}),
    ]
    assert await kept.look() == 0, "told once"


async def test_an_emergency_observe_is_in_force_even_from_files_that_are_refused(kept: Kept) -> None:
    await kept.look()
    assert kept.keeper().mode is not Mode.OBSERVE
    (kept.folder / "zz-broken.yaml").write_text("version: 1\nrules: {not: [a, list\n")
    await kept.look()
    assert (kept.keeper().mode is Mode.OBSERVE, kept.reload_ok) == (False, 0)
    (kept.folder / "zz-broken.yaml").write_text("version: 1\nmode: observe  # stop!\nrules: {not: [a, list\n")
    await kept.look()
    assert kept.keeper().mode is Mode.OBSERVE
    assert kept.keeper().version.endswith("+observe")
    assert "refused" in kept.keeper.problems["policy"]


async def test_a_rules_own_observe_is_no_brake(kept: Kept) -> None:
    (kept.folder / "zz-broken.yaml").write_text("rules:\n  - name: x\n    mode: observe\n    when: [\n")
    await kept.look()
    assert kept.keeper().mode is not Mode.OBSERVE


async def test_files_put_back_as_they_were_are_in_force_again_and_no_problem(kept: Kept) -> None:
    before, text = kept.keeper().version, kept.file.read_text()
    kept.file.write_text("version: 1\nmode: observe\nrules: [")
    await kept.look()
    assert kept.keeper().mode is Mode.OBSERVE
    kept.file.write_text(text)
    await kept.look()
    assert (kept.keeper().version, kept.keeper.problems, kept.reload_ok) == (before, {}, 1)


async def test_a_folder_that_cannot_be_read_is_told_once_and_not_every_two_seconds(kept: Kept) -> None:
    kept.file.write_bytes(b"version: 1\n\xff\xfe")
    for _ in range(3):
        await kept.look()
    assert [kind for kind, _ in kept.trail.kept] == ["policy.loaded", "policy.refused"]


async def test_whatever_a_file_makes_the_parser_do_is_a_refusal(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(_texts: Any, _catalogue: Any) -> Any:
        raise RecursionError

    monkeypatch.setattr(policies, "load_policy", defect)
    kept.edit("mode: auto", "mode: approve")
    await kept.look()
    assert kept.trail.kept[-1][0] == "policy.refused"
    assert kept.reload_ok == 0


async def test_a_policy_is_parsed_beside_the_event_loop(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    real = load_policy

    def seen(texts: Any, catalogue: Any) -> Any:
        threads.append(threading.get_ident())
        return real(texts, catalogue)

    monkeypatch.setattr(policies, "load_policy", seen)
    kept.edit("mode: auto", "mode: approve")
    await asyncio.wait_for(kept.look(), 30)
    assert threads
    assert threading.get_ident() not in threads


async def test_a_refused_reload_says_what_is_wrong_with_half_written_params_and_where(kept: Kept) -> None:
    await kept.look()
    (kept.folder / "half.yaml").write_text(HALF)
    await kept.look()
    refused = [data["error"] for kind, data in kept.trail.kept if kind == "policy.refused"]
    assert len(refused) == 1
    assert "half.yaml:7:13: a key is rotated by provider, secret, active_key" in refused[0]


async def test_a_pause_of_a_rule_that_is_gone_is_told_until_it_is_lifted(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever renames a rule hears that a pause has its former name, and what it holds."""
    at = datetime(2026, 3, 4, tzinfo=UTC)
    pause = people.Pause("pause_1", "rule:gone", "hands off", "kim", at, None, "high-latency")
    asked = list[Mapping[str, str]]()

    def know(_tx: Any, rules: Mapping[str, str]) -> list[people.Pause]:
        asked.append(rules)
        return [pause]

    monkeypatch.setattr(people, "know_rules", know)
    await kept.look()
    assert asked[0] == {rule.name: rule.remediation for rule in kept.keeper().rules}
    assert "it holds all of high-latency" in kept.keeper.problems["rule:gone"]
    kept.trail.scopes = {"rule:gone"}
    await kept.look()
    assert "rule:gone" in kept.keeper.problems
    kept.trail.scopes = set()
    await kept.look()
    assert not kept.keeper.problems


async def test_a_start_with_refused_files_goes_on_with_what_was_in_force(kept: Kept) -> None:
    kept.edit("mode: auto", "mode: approve")
    await kept.look()
    before = kept.keeper().version
    (kept.folder / "zz-broken.yaml").write_text(BROKEN)
    await kept.look()
    kept.restart()
    assert (kept.keeper().version, kept.reload_ok) == (before, 0)
    assert "as it was kept at 2026-03-04 05:06 UTC, stays in force" in kept.keeper.problems["policy"]
    await kept.look()
    kind, data = kept.trail.kept[-1]
    assert (kind, data["kept"]) == ("policy.refused", before)
    assert "zz-broken.yaml" in data["error"]
    assert await kept.look() == 0, "told once"
    (kept.folder / "zz-broken.yaml").unlink()
    await kept.look()
    assert (kept.keeper().version, kept.keeper.problems, kept.reload_ok) == (before, {}, 1)


async def test_the_brake_of_refused_files_holds_over_a_restart(kept: Kept) -> None:
    await kept.look()
    (kept.folder / "zz-broken.yaml").write_text("mode: observe\n" + BROKEN)
    kept.restart()
    assert kept.keeper().mode is Mode.OBSERVE


async def test_a_folder_that_is_away_at_the_start_takes_no_policy_out_of_force(kept: Kept) -> None:
    await kept.look()
    before = kept.keeper().version
    kept.folder = kept.folder / "not mounted"
    kept.restart()
    await kept.look()
    assert kept.keeper().version == before
    assert await kept.look() == 0, "told once"


async def test_a_first_start_with_refused_files_is_none(kept: Kept) -> None:
    (kept.folder / "zz-broken.yaml").write_text(BROKEN)
    with pytest.raises(BadInput, match=r"zz-broken\.yaml"):
        kept.restart()


async def test_a_start_is_none_when_what_was_in_force_is_not_valid_any_more_either(kept: Kept) -> None:
    """An upgrade may know a key no more that the last version took."""
    kept.trail.texts = {"old.yaml": HALF}
    (kept.folder / "zz-broken.yaml").write_text(BROKEN)
    with pytest.raises(BadInput, match=r"zz-broken\.yaml"):
        kept.restart()


async def test_only_what_came_into_force_is_kept(kept: Kept) -> None:
    await kept.look()
    good = dict(kept.trail.texts)
    assert kept.file.name in good
    (kept.folder / "zz-broken.yaml").write_text(BROKEN)
    await kept.look()
    assert kept.trail.texts == good


@pytest.mark.parametrize("head", ["mode: observe\n", "\ufeffmode: observe\n"])
async def test_the_brake_counts_beside_a_file_that_is_no_text(kept: Kept, head: str) -> None:
    await kept.look()
    (kept.folder / "zz.yaml").write_bytes(b"version: 1\n\xff\xfe")
    await kept.look()
    assert kept.keeper().mode is not Mode.OBSERVE
    (kept.folder / "brake.yaml").write_text(head, encoding="utf-8")
    await kept.look()
    assert kept.keeper().mode is Mode.OBSERVE
    assert kept.trail.kept[-1][1]["kept"].endswith("+observe")
    assert await kept.look() == 0, "told once"
    (kept.folder / "brake.yaml").unlink()
    await kept.look()
    assert kept.keeper().mode is not Mode.OBSERVE


async def test_a_folder_that_vanishes_lifts_no_brake_also_over_a_restart(kept: Kept) -> None:
    await kept.look()
    (kept.folder / "zz.yaml").write_text("mode: observe\n" + BROKEN)
    await kept.look()
    away = kept.folder.with_name("away")
    kept.folder.rename(away)
    await kept.look()
    assert kept.keeper().mode is Mode.OBSERVE
    kept.restart()
    assert kept.keeper().mode is Mode.OBSERVE
    await kept.look()
    away.rename(kept.folder)
    (kept.folder / "zz.yaml").unlink()
    await kept.look()
    assert kept.keeper().mode is not Mode.OBSERVE
    assert not kept.trail.braked
