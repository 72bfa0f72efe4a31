"""The word between the containers of a backup's pod that one of them is done: a file in the folder that they share.

Used by both ends (`early`, `pod`, `pipes`). Imports nothing that takes long, for it is needed from a container's first moment on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

WORK: Final = "BACKUP_WORK"
"""The variable with the folder that both containers share."""
OVER: Final = "over"
"""The file there that says that our container has ended, maybe before it made the pipes."""
TOLD_TO_END: Final = 143
"""The exit code of who was told to end."""


def tell_it_is_over(environment: Mapping[str, str]) -> None:
    """Say so, and let one go that waits for somebody at the other end of a pipe."""
    if not (folder := environment.get(WORK)):
        return
    with suppress(OSError):
        (Path(folder) / OVER).touch()
    for name, way in (("told", os.O_RDONLY), ("todo", os.O_WRONLY)):
        with suppress(OSError):
            os.close(os.open(Path(folder) / name, way | os.O_NONBLOCK))
