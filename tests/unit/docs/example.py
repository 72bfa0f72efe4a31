"""The handler of CONTRIBUTING, made from the text of the document."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from tests.unit.docs.fences import blocks

NAME = "worked_example"


def worked_example() -> Any:
    """Execute the one Python block as a module, and give its handler."""
    (block,) = blocks("python")
    module = ModuleType(NAME, f"{block}")
    sys.modules[NAME] = module  # where pydantic looks up what the annotations name
    exec(compile(block.text, str(block), "exec", dont_inherit=True), vars(module))  # noqa: S102 - our own document
    return module.AddReplicas()
