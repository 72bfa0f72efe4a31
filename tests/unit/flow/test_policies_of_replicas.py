"""One policy for all replicas: what one of them loads is in force on the others before their files are there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from app.domain.decision import Mode
from app.store import last_policy
from tests.unit.flow.keepers import BROKEN, HALF, SHIPPED, Kept, without_store


@pytest.fixture(autouse=True)
def no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    without_store(monkeypatch)


@dataclass(frozen=True)
class Two:
    """Two replicas on one store, each with files of its own."""

    one: Kept
    other: Kept

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self.one.look()
            await self.other.look()

    @property
    def versions(self) -> tuple[str, str]:
        return self.one.keeper().version, self.other.keeper().version

    @property
    def modes(self) -> tuple[Mode | None, Mode | None]:
        return self.one.keeper().mode, self.other.keeper().mode

    def told(self) -> list[str]:
        return [data["version"] for kind, data in self.one.trail.kept if kind == "policy.loaded"]


@pytest.fixture
def two(tmp_path: Path) -> Two:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one = Kept(tmp_path / "one")
    return Two(one, Kept(tmp_path / "other", one.trail, "replica-1"))


async def test_a_changed_policy_is_in_force_on_every_replica_before_its_files_are_there(two: Two) -> None:
    await two.look()
    before = two.one.keeper().version
    assert not two.other.keeper.problems
    two.one.edit("mode: auto", "mode: approve")
    await two.look()
    after, same = two.versions
    assert after == same != before
    assert "another replica" in two.other.keeper.problems["policy"]
    assert not two.one.keeper.problems
    told = len(two.one.trail.kept)
    await two.look(3)
    assert (two.versions, len(two.one.trail.kept)) == ((after, after), told), "told once"
    two.other.edit("mode: auto", "mode: approve")
    await two.look(3)
    assert two.versions == (after, after)
    assert not two.other.keeper.problems


async def test_the_file_that_changes_last_counts_on_every_replica(two: Two) -> None:
    await two.look()
    first = two.one.keeper().version
    two.one.edit("mode: auto", "mode: approve")
    await two.look(2)
    two.one.edit("mode: approve", "mode: auto")
    await two.look(2)
    assert two.versions == (first, first)
    two.other.edit("limit: 10 per 1h", "limit: 9 per 1h")
    await two.look(2)
    assert two.versions[0] == two.versions[1] != first
    assert two.told()[-1] == two.versions[0]


async def test_the_brake_of_one_replica_holds_the_others_until_whoever_has_it_lifts_it(two: Two) -> None:
    await two.look()
    before = two.modes
    (two.one.folder / "zz.yaml").write_text("mode: observe\n" + BROKEN)
    await two.look()
    assert two.modes == (Mode.OBSERVE, Mode.OBSERVE)
    # The same files arrive in a wrong order: broken first, with the brake later.
    (two.other.folder / "zz.yaml").write_text(BROKEN)
    await two.look(2)
    assert two.modes == (Mode.OBSERVE, Mode.OBSERVE), "who has no brake lifts none"
    (two.one.folder / "zz.yaml").write_text(BROKEN)
    await two.look(2)
    assert two.modes == before
    for side in (two.one, two.other):
        (side.folder / "zz.yaml").unlink()
    await two.look(2)
    assert (two.one.keeper.problems, two.other.keeper.problems) == ({}, {})


async def test_a_brake_that_is_in_the_files_of_both_is_lifted_by_each_for_itself(two: Two) -> None:
    await two.look()
    for side in (two.one, two.other):
        (side.folder / "zz.yaml").write_text("mode: observe\n" + BROKEN)
    await two.look(2)
    (two.one.folder / "zz.yaml").unlink()
    await two.look(2)
    assert two.modes[1] is Mode.OBSERVE
    (two.other.folder / "zz.yaml").unlink()
    await two.look(2)
    assert Mode.OBSERVE not in two.modes
    assert (two.one.keeper.problems, two.other.keeper.problems) == ({}, {})


async def test_a_policy_that_this_version_cannot_read_holds_it_back(two: Two) -> None:
    """During an upgrade the newer version takes keys that the older one does not know."""
    await two.look()
    before = two.one.keeper().version
    two.one.trail.texts = {"new.yaml": HALF}
    await two.look(2)
    assert two.modes == (Mode.OBSERVE, Mode.OBSERVE)
    assert two.one.trail.texts == {"new.yaml": HALF}, "it stays what is in force"
    (two.one.folder / "zz.yaml").write_text(BROKEN)
    await two.look(2)
    assert two.one.trail.texts == {"new.yaml": HALF}
    assert two.modes == (Mode.OBSERVE, Mode.OBSERVE)
    (two.one.folder / "zz.yaml").unlink()
    await two.look(2)
    assert two.modes == (Mode.OBSERVE, Mode.OBSERVE), "files put back as they were are no change"
    two.one.edit("limit: 10 per 1h", "limit: 9 per 1h")
    await two.look(2)
    assert two.versions[0] == two.versions[1] != before
    assert Mode.OBSERVE not in two.modes


BRAKE = ("\nmode: auto\n", "\nmode: observe\n")


async def test_a_restart_with_files_of_before_brings_no_older_policy_back(two: Two) -> None:
    """The files of a replica that starts again may be a minute behind, and whoever pulled the brake looks at another one."""
    await two.look()
    first = two.one.keeper().version
    two.other.edit(*BRAKE)
    await two.look(2)
    assert two.modes == (Mode.OBSERVE, Mode.OBSERVE)
    two.one.restart()
    assert two.one.keeper().mode is Mode.OBSERVE, "from the start"
    await two.look(3)
    assert two.modes == (Mode.OBSERVE, Mode.OBSERVE)
    assert "the files of replica-1 say mode: observe" in two.one.keeper.problems["policy"]
    two.one.edit(*BRAKE)
    two.one.restart()
    await two.look(2)
    assert (two.modes, two.one.keeper.problems) == ((Mode.OBSERVE, Mode.OBSERVE), {})
    for side in (two.one, two.other):
        side.edit(*reversed(BRAKE))
        side.restart()
    await two.look(2)
    assert two.versions == (first, first), "files that are others than before a restart are a change"
    assert (two.one.keeper.problems, two.other.keeper.problems) == ({}, {})


async def test_a_brake_counts_for_all_until_it_leaves_the_very_files_in_which_it_stands(two: Two) -> None:
    """Whatever another replica loads meanwhile."""
    await two.look()
    two.other.edit(*BRAKE)
    await two.look(2)
    two.one.edit("limit: 10 per 1h", "limit: 9 per 1h")
    await two.look(3)
    assert two.modes == (Mode.OBSERVE, Mode.OBSERVE)
    assert two.one.keeper.problems["policy"].startswith("the files of replica-1 say mode: observe")
    two.one.restart()
    assert two.one.keeper().mode is Mode.OBSERVE
    await two.look(2)
    assert two.modes == (Mode.OBSERVE, Mode.OBSERVE)
    two.other.edit(*reversed(BRAKE))
    await two.look(2)
    assert Mode.OBSERVE not in two.modes


async def test_the_brake_of_a_replica_that_is_gone_holds_nobody_for_ever(two: Two) -> None:
    """A broken session or a restart is no end; a replica that was scaled away is one."""
    await two.look()
    two.other.edit(*BRAKE)
    await two.look(2)
    two.one.edit("limit: 10 per 1h", "limit: 9 per 1h")
    two.one.trail.gone = {"replica-1"}
    for _ in range(25):
        await two.one.look()
    assert two.one.keeper().mode is Mode.OBSERVE
    two.one.trail.gone = set()
    await two.one.look()
    two.one.trail.gone = {"replica-1"}
    for _ in range(25):
        await two.one.look()
    assert two.one.keeper().mode is Mode.OBSERVE, "it was there in between"
    for _ in range(10):
        await two.one.look()
    assert two.one.keeper().mode is not Mode.OBSERVE
    assert two.one.keeper.problems == {}


async def test_a_broken_file_of_one_replica_changes_nothing_for_the_others(two: Two) -> None:
    await two.look()
    two.one.edit("mode: auto", "mode: approve")
    await two.look()
    after = two.one.keeper().version
    (two.other.folder / "zz.yaml").write_text(BROKEN)
    await two.look(2)
    two.other.restart()
    await two.look(2)
    assert two.versions == (after, after)
    (two.other.folder / "zz.yaml").unlink()
    await two.look(2)
    assert two.versions == (after, after)


async def test_a_row_that_nobody_wrote_with_our_key_brings_nothing_into_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(tmp_path)
    await kept.look()
    before = kept.keeper().version
    monkeypatch.setattr(last_policy, "read", lambda _row, _key: None)
    kept.trail.texts = {"planted.yaml": "version: 1\n"}
    await kept.look()
    assert (kept.keeper().version, kept.keeper.problems) == (before, {})


async def test_a_folder_that_vanishes_lifts_no_brake_for_the_others(two: Two) -> None:
    """Nobody can tell any more what its files say."""
    await two.look()
    two.one.edit(*BRAKE)
    await two.look(2)
    two.other.edit("limit: 10 per 1h", "limit: 9 per 1h")
    await two.look(2)
    away = two.one.folder.with_name("away")
    two.one.folder.rename(away)
    await two.look(3)
    two.one.restart()
    two.other.restart()
    await two.look(3)
    assert two.modes == (Mode.OBSERVE, Mode.OBSERVE)
    away.rename(two.one.folder)
    two.one.edit(*reversed(BRAKE))
    await two.look(3)
    assert Mode.OBSERVE not in two.modes


async def test_the_brake_in_a_refused_file_goes_with_its_replica_or_with_its_line(two: Two) -> None:
    await two.look()
    before = two.modes
    (two.one.folder / "zz.yaml").write_text("mode: observe\n" + BROKEN)
    await two.look(2)
    two.one.restart()
    await two.look(2)
    assert two.modes == (Mode.OBSERVE, Mode.OBSERVE)
    (two.one.folder / "zz.yaml").write_text(BROKEN)
    await two.look(2)
    assert two.modes == before, "its line is gone, although the file is refused still"
    (two.one.folder / "zz.yaml").write_text("mode: observe\n" + BROKEN)
    await two.look(2)
    two.one.trail.gone = {"replica-0"}
    for _ in range(35):
        await two.other.look()
    assert (two.other.keeper().mode, two.other.keeper.problems) == (before[1], {})


EVENTS = ("auto", "observe", "broken", "broken, observe", "vanishes", "restarts", "goes or comes")


def _happens(two: Two, side: Kept, event: str, number: int) -> None:
    gone, broken = side.trail.gone, side.folder / "zz.yaml"
    if event == "goes or comes":
        gone.symmetric_difference_update({side.name})
    if side.name not in gone and event in ("restarts", "goes or comes"):
        side.restart()
    if event in ("restarts", "goes or comes"):
        return
    shutil.rmtree(side.folder, ignore_errors=True)
    if event == "vanishes":
        return
    shutil.copytree(SHIPPED, side.folder)
    if event.startswith("broken"):
        broken.write_text(("mode: observe\n" if "observe" in event else "") + BROKEN)
    else:
        mode = "\nmode: observe\n" if event == "observe" else "\nmode: auto\n"
        side.file.write_text(side.file.read_text().replace("\nmode: auto\n", mode) + f"# {number}\n")


@pytest.mark.long
async def test_whatever_happens_to_two_replicas_a_brake_holds_both_as_long_as_it_stands_and_no_longer(
    tmp_path: Path,
) -> None:
    """All pairs of happenings, against what people mean: whose files say so, or said so when they were last seen."""
    moves = [(side, event) for side in (0, 1) for event in EVENTS]
    for number, sequence in enumerate(product(moves, repeat=2)):
        (tmp_path / f"{number}").mkdir()
        for name in ("one", "other"):
            (tmp_path / f"{number}" / name).mkdir()
        one = Kept(tmp_path / f"{number}" / "one")
        two = Two(one, Kept(tmp_path / f"{number}" / "other", one.trail, "replica-1"))
        sides, says = (two.one, two.other), {"replica-0": False, "replica-1": False}
        await two.look(2)
        for at, event in sequence:
            side = sides[at]
            _happens(two, side, event, number)
            says[side.name] = {"auto": False, "broken": False, "observe": True, "broken, observe": True}.get(
                event, says[side.name]
            )
            living = [s for s in sides if s.name not in one.trail.gone]
            for _ in range(35 if one.trail.gone else 4):
                for living_one in living:
                    await living_one.look()
            held = any(says[s.name] for s in living)
            newest = "\nmode: observe\n" in "".join(one.trail.texts.values())
            modes = {s.keeper().mode is Mode.OBSERVE for s in living}
            assert modes <= {held or newest}, (sequence, event, [s.keeper.problems for s in living])
