"""Where simulators are installed: in this environment, or in one of their own that the user names."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from qjaxsim_bench.peers import MODULES, load

_ASK = """
import json, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        found[name] = None
print(json.dumps(found))
"""


class Environments:
    """Virtual environments by simulator, for those whose versions exclude ours.

    Such an environment holds the simulator and this package without what it needs (`pip install --no-deps`).

    Args:
        folders: of the environments, by name of the simulator.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = dict(folders)
        self._versions: dict[str, dict[str, str | None]] = {}

    def python(self, peer: str) -> str:
        """The interpreter that a simulator is run by."""
        return str(self._folders[peer] / "bin" / "python") if peer in self._folders else sys.executable

    def variables(self, peer: str) -> dict[str, str]:
        """Variables of its processes: this one's and its own, and in this environment the search path too."""
        given = {**os.environ, **load(peer).variables}
        if peer not in self._folders:
            given["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        return given

    def versions(self, peer: str) -> dict[str, str | None]:
        """Version of each distribution that a simulator needs, None for one that is not installed."""
        if peer not in self._versions:
            self._versions[peer] = self._asked(peer) if peer in self._folders else _installed(load(peer).packages)
        return self._versions[peer]

    def missing(self, peer: str) -> str | None:
        """The first distribution that a simulator needs and that is not installed."""
        return next((name for name, version in self.versions(peer).items() if version is None), None)

    def _asked(self, peer: str) -> dict[str, str | None]:
        command = [self.python(peer), "-c", _ASK, *load(peer).packages]
        return dict(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def _installed(packages: tuple[str, ...]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def parsed(text: str) -> Environments:
    """Environments from "peer=folder,peer=folder".

    Raises:
        ValueError: for an unknown simulator or a folder without an interpreter.
    """
    folders = {}
    for part in text.split(","):
        name, _, folder = part.partition("=")
        if name not in MODULES or not (Path(folder) / "bin" / "python").exists():
            raise ValueError(
                f"Argument `environments` must be like catalyst=FOLDER with a simulator's name and the folder of a "
                f"virtual environment, but one is {part!r}."
            )
        folders[name] = Path(folder)
    return Environments(folders)


def describe(peer: str, environments: Environments) -> dict[str, Any]:
    """Version and settings of a simulator, for the record."""
    chosen = load(peer)
    return {
        "settings": chosen.settings,
        "precisions": list(chosen.dtypes),
        "versions": environments.versions(peer),
    }
