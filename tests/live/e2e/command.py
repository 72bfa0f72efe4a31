"""`remediator ...` as a module, for commands that are forked instead of started."""

from __future__ import annotations

from app.cli import main

if __name__ == "__main__":
    main()
