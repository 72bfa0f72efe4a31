"""The way of one alert through the source: which files it enters from its bytes to its decision, in the order it enters them.

`python -m tests.bench.walk` prints it and writes it into ARCHITECTURE.md; a test holds both, and the number of files. The simulated cluster stands for the real one and is not
counted, nor are the plain words of `app/domain`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.scenario.scenes import alert, all_runs, body, born

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
BEGINS, ENDS = "<!-- walk -->", "<!-- /walk -->"
_HANDED_ON = ("app/flow/services.py", "__call__")
"""The run is requested, and the engine is asked to start it."""
_NOT_COUNTED = ("app/sim/", "app/domain/", "tests/")


@dataclass
class Walk:
    """Files in the order of first entry, and each move from one file of `app/flow` to another."""

    files: dict[str, None] = field(default_factory=dict)
    moves: list[str] = field(default_factory=list)
    over: bool = False
    _known: dict[CodeType, str] = field(default_factory=dict)

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        """One profiler event."""
        if event != "call" or self.over:
            return
        code = frame.f_code
        path = self._known.get(code)
        if path is None:
            path = self._known[code] = _path(code.co_filename)
        if not path:
            return
        if (path, code.co_name) == _HANDED_ON:
            self.over = True
            return
        self.files.setdefault(path)
        if path.startswith("app/flow/") and (not self.moves or self.moves[-1] != path):
            self.moves.append(path)


def _path(filename: str) -> str:
    if not filename.startswith(str(ROOT)):
        return ""
    path = str(Path(filename).relative_to(ROOT))
    return path if path.startswith(("app/", "remediations/")) and not path.startswith(_NOT_COUNTED) else ""


async def walk_one_alert(folder: Path) -> Walk:
    """One alert of a broken release, from its body to the run that is requested for it."""
    rig = await born(folder)
    walk = Walk()
    sys.setprofile(walk)
    try:
        await rig.send(body(alert(rig)))
        await rig.loops.decide_due()
        for _ in range(200):
            if await all_runs(rig):
                break
            await asyncio.sleep(0)
    finally:
        sys.setprofile(None)
    assert await all_runs(rig)
    await rig.close()
    return walk


def shown(walk: Walk) -> str:
    """The files by folder, the folders in the order in which the alert first enters them: what ARCHITECTURE.md has."""
    folders: dict[str, list[str]] = {}
    for path in walk.files:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name.removesuffix(".py"))
    lines = [f"{folder}: {', '.join(sorted(names))}" for folder, names in folders.items()]
    wrapped = [
        "\n".join(textwrap.wrap(line, 118, subsequent_indent="    ", break_on_hyphens=False))
        for line in lines
    ]
    return f"{BEGINS}\n```text\n" + "\n".join(wrapped) + f"\n```\n{ENDS}"


def main() -> None:
    """Print the way, and write it down."""
    with tempfile.TemporaryDirectory() as folder:
        walk = asyncio.run(walk_one_alert(Path(folder)))
    text = ARCHITECTURE.read_text("utf-8")
    head, rest = text.split(BEGINS, 1)
    ARCHITECTURE.write_text(head + shown(walk) + rest.split(ENDS, 1)[1], "utf-8")
    for path in walk.files:
        print(path)
    rooms = [path for path in walk.files if path.startswith("app/flow/")]
    print(f"{len(walk.files)} files, {len(rooms)} of them in app/flow, {len(walk.moves)} moves between these")


if __name__ == "__main__":
    main()
