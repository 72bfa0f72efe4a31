"""What is in the container image, found without a container engine: `python -m tests.image.contents` carries out the recipe's own
steps in a clean folder and writes the list of files and the list of packages with their licences beside it.

Owns the steps that need no engine (COPY, `uv sync`). Left out, and said: the base image with its packages, the user, and what only
prepares them (installing uv, removing pip). Never changes the checkout.
"""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from tests.image.recipe import LAST, RECIPE, ROOT, Instruction, environment

BUILD: Final = ROOT / "build"
_ENGINE_ONLY: Final = frozenset(
    {"FROM", "ARG", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
)
_HEAD: Final = 60  # characters of a licence text that name it


@dataclass(frozen=True, slots=True)
class Package:
    """One installed package. `licence` is empty when it names none."""

    name: str
    version: str
    licence: str


class Image:
    """The folder `root` as the file system of the image, and a scratch folder for the first stage."""

    def __init__(self, root: Path) -> None:
        self.root, self._source = root, root.parent / f"{root.name}-source"
        self.left_out: list[str] = []

    def build(self) -> None:
        """Carry out the recipe. Raises CalledProcessError when a step fails."""
        for folder in (self.root, self._source):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for step in RECIPE:
            if step.word == "COPY":
                self._copy(step)
            elif step.word == "RUN" and step.rest.startswith("uv sync"):
                self._sync(step)
            elif step.word not in _ENGINE_ONLY and step.word != "WORKDIR":
                self.left_out.append(f"{step.word} {step.rest}")
        shutil.rmtree(self._source)

    def _copy(self, step: Instruction) -> None:
        if step.rest.startswith("--from="):
            return  # the first stage writes to the same place already
        *sources, target = shlex.split(step.rest)
        base = self.root if step.stage == LAST else self._source
        place = base / target.lstrip("/")
        for source in (ROOT / name for name in sources):
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, place / source.name)

    def _sync(self, step: Instruction) -> None:
        inside = environment(step.stage)
        target = self.root / inside.pop("UV_PROJECT_ENVIRONMENT").lstrip("/")
        kept = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
        path = f"{Path(uv()).parent}{os.pathsep}{kept.get('PATH', '')}"
        here = {"UV_PROJECT_ENVIRONMENT": str(target), "UV_PYTHON": sys.executable, "PATH": path}
        subprocess.run(["sh", "-ec", step.rest], cwd=self._source, env={**kept, **inside, **here}, check=True)

    @property
    def command(self) -> Path:
        """The entry point."""
        return self.root / "opt/remediator/bin/remediator"

    def files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Every file by its path in the image, in order, with what the file system says of it; links are not followed."""
        for path in sorted(self.root.rglob("*")):
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode):
                yield path.relative_to(self.root), found

    def packages(self) -> list[Package]:
        """Every Python package by name."""
        (site,) = self.root.glob("opt/remediator/lib/python3*/site-packages")
        found = distributions(path=[str(site)])
        return sorted((Package(d.name, d.version, _licence(d)) for d in found), key=lambda p: p.name.lower())


def uv() -> str:
    """Where uv is: the one that runs this, else the one of the Makefile."""
    return os.environ.get("UV") or str(ROOT / ".tools" / "bin" / "uv")


def _licence(package: Distribution) -> str:
    """As the package says it: the expression, else its classifiers, else its field or the head of its licence's text."""
    said = package.metadata
    if expression := _first(package, "License-Expression"):
        return expression
    classes = [c.rpartition(" :: ")[2] for c in said.get_all("Classifier", []) if c.startswith("License ::")]
    named = [name for name in classes if name != "OSI Approved"]
    if named:
        return "; ".join(named)
    if field := _first(package, "License"):
        return field.splitlines()[0][:_HEAD]
    for name in said.get_all("License-File", []):
        text = package.read_text(f"licenses/{name}") or package.read_text(name) or ""
        if text.strip():
            return text.strip().splitlines()[0].strip()[:_HEAD]
    return ""


def _first(package: Distribution, field: str) -> str:
    return next((str(value).strip() for value in package.metadata.get_all(field, [])), "")


def write(image: Image, folder: Path) -> tuple[Path, Path]:
    """The list of files (mode, bytes, path) and the list of packages with their licences. Gives both places."""
    files, licences = folder / "image-files.txt", folder / "licences.csv"
    lines = (f"{stat.filemode(found.st_mode)} {found.st_size:>9} /{path}\n" for path, found in image.files())
    files.write_text("".join(lines), encoding="utf-8")
    with licences.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(("package", "version", "licence"))
        rows.writerows((p.name, p.version, p.licence) for p in image.packages())
    return files, licences


def main() -> None:
    """Build the folder, write both lists, and say what a container engine would add."""
    image = Image(BUILD / "image")
    image.build()
    for place in write(image, BUILD):
        print(place.relative_to(ROOT))
    for step in image.left_out:
        print(f"needs a container engine, left out: {' '.join(step.split())[:100]}")


if __name__ == "__main__":
    main()
