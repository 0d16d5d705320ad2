"""A checkout that has the script ``inv``, pins and wheels of its own: nothing is fetched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "inv"
BASE_PYTHON = Path(getattr(sys, "_base_executable", sys.executable)).resolve()

# What stands in for invoke: it shows what it was given and where it runs.
ECHO = """
import json, os, pathlib, sys
def main():
    where = {"argv": sys.argv[1:], "cwd": os.getcwd(), "prefix": sys.prefix}
    where["env"] = {name: os.environ.get(name) for name in ("VIRTUAL_ENV", "PYTHONHOME")}
    where["path"] = os.environ["PATH"].split(os.pathsep)[0]
    print(json.dumps(where))
    sys.exit(int(os.environ.get("EXIT", "0")))
"""

BACKEND = """
import base64, hashlib, pathlib, time, zipfile
def build_editable(directory, config_settings=None, metadata_directory=None):
    root = pathlib.Path(__file__).parent
    if (root / "slow").exists():
        (root / "building").touch()
        while (root / "slow").exists():
            time.sleep(0.05)
    if (root / "broken").exists():
        raise SystemExit("the disk of the build has melted")
    name = "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as wheel:
        wheel.writestr("demo.pth", str(root) + "\\n")
        wheel.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n"
                       "Requires-Dist: echo\\nProvides-Extra: dev\\nProvides-Extra: embedded\\n")
        wheel.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("demo-1.0.dist-info/RECORD", "")
    return name
"""

PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "backend"
backend-path = ["."]
[project]
name = "demo"
version = "1.0"
dependencies = ["echo"]
optional-dependencies = { dev = [], embedded = [] }
"""


def make_wheel(directory: Path, name: str, version: str, files: dict[str, str]) -> None:
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path.replace("INFO", info), text)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@dataclass(frozen=True)
class Checkout:
    """A project with ./inv in it, and the surroundings to call it in."""

    path: Path
    wheels: Path
    programs: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def venv(self) -> Path:
        return self.path / ".venv"

    def command(self, *arguments: str, shell: str = "") -> list[str]:
        return [*([shell] if shell else []), str(self.path / "inv"), *arguments]

    def surroundings(self) -> dict[str, str]:
        return {
            "PATH": str(self.programs),
            "HOME": str(self.path.parent),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": os.devnull,
            **self.environ,
        }

    def run(
        self, *arguments: str, cwd: Path | None = None, shell: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, shell=shell),
            cwd=cwd or self.path,
            env=self.surroundings(),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.path,
            env=self.surroundings(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def only_programs(directory: Path, *, without: tuple[str, ...] = ()) -> Path:
    """A PATH that holds what a bare system has, less what is named; and no uv."""
    directory.mkdir()
    wanted = (
        "sh",
        "dash",
        "cat",
        "cksum",
        "dirname",
        "flock",
        "mkdir",
        "mktemp",
        "mv",
        "readlink",
        "rm",
        "rmdir",
        "sleep",
    )
    for name in wanted:
        found = shutil.which(name)
        if found is not None and name not in without:
            (directory / name).symlink_to(found)
    (directory / "python3").symlink_to(BASE_PYTHON)
    return directory


def make_checkout(directory: Path) -> Checkout:
    project = directory / 'it\'s a "project" $HOME'
    project.mkdir()
    wheels = directory / "wheels"
    wheels.mkdir()
    script = {"echo_it.py": ECHO, "INFO/entry_points.txt": "[console_scripts]\npgops = echo_it:main\n"}
    make_wheel(wheels, "echo", "1.0", script)
    make_wheel(wheels, "echo", "2.0", script)
    make_wheel(wheels, "setuptools", "99.0", {"setuptools_of_the_test.py": ""})
    shutil.copy(SCRIPT, project / "inv")
    (project / "backend.py").write_text(BACKEND)
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "constraints.txt").write_text("echo==1.0\nsetuptools==99.0\n")
    return Checkout(project, wheels, only_programs(directory / "programs"))


def said(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def installed_version(checkout: Checkout) -> str:
    (found,) = checkout.venv.glob("lib/python*/site-packages/echo-*.dist-info")
    return found.name
