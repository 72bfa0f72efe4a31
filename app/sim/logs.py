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
        self._lines: deque[tuple[float, str, int]] = deque(maxlen=CAPACITY)  # written out when they are read
        self._count = 0

    def write(self, at: float, template: str) -> None:
        """Add one line from a scenario's template."""
        self._count += 1
        self._lines.append((at, template, self._count))

    def text(self, since: float, tail: int | None, limit_bytes: int) -> str:
        """The newest `tail` lines (None: all) not older than `since` (seconds since 1970), cut after `limit_bytes`."""
        lines = [line for line in self._lines if line[0] >= since]
        if tail is not None:
            lines = lines[-tail:] if tail > 0 else []
        whole = "".join(f"{self._written(*line)}\n" for line in lines)
        return whole.encode()[:limit_bytes].decode(errors="replace")

    def _written(self, at: float, template: str, number: int) -> str:
        request = f"req-{(number * 2654435761) & 0xFFFFFF:06x}"
        return template.format(time=stamp(at), request=request, pod=self._pod, number=number)
