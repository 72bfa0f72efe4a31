"""Log lines of one container instance: a bounded ring with the moment of each line. Used by kubelet and traffic."""

from __future__ import annotations

from collections import deque

from app.sim.kinds import stamp

CAPACITY = 4_000
"""Lines kept of one container instance."""


class Log:
    """The log of one container instance; `pod` names it in its lines."""

    def __init__(self, pod: str) -> None:
        self._pod = pod
        # Moment, template, number of the first line and how many: written out when they are read.
        self._lines: deque[tuple[float, str, int, int]] = deque(maxlen=CAPACITY)
        self._count = 0

    def write(self, at: float, template: str, lines: int = 1) -> None:
        """Add lines from a scenario's template."""
        self._lines.append((at, template, self._count + 1, lines))
        self._count += lines

    def text(self, since: float, tail: int | None, limit_bytes: int, *, timestamps: bool = False) -> str:
        """The newest `tail` lines (None: all) not older than `since` (seconds since 1970), cut after `limit_bytes`; with
        `timestamps` each after its moment."""
        oldest = self._count - (CAPACITY if tail is None else max(0, min(tail, CAPACITY)))
        lines = [
            (at, template, number)
            for at, template, first, count in self._lines
            if at >= since and first + count > oldest
            for number in range(max(first, oldest + 1), first + count)
        ]
        whole = "".join(
            f"{f'{stamp(line[0])} ' if timestamps else ''}{self._written(*line)}\n" for line in lines
        )
        return whole.encode()[:limit_bytes].decode(errors="replace")

    def _written(self, at: float, template: str, number: int) -> str:
        request = f"req-{(number * 2654435761) & 0xFFFFFF:06x}"
        return template.format(time=stamp(at), request=request, pod=self._pod, number=number)
