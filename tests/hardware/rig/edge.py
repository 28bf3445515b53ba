"""Our own wheel and the aarch64 wheels of its edge extras, as the guest's site-packages. No root, no emulation."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.hardware.rig import cache, system
from tests.hardware.rig.parts import Suite
from tests.hardware.rig.system import image

REPOSITORY: Final = Path(__file__).parents[3]
EXTRAS: Final = ("sensor", "inference", "alert", "pi")
HERE: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
# pip evaluates environment markers for the machine and the Python that it runs on, whatever --platform says.
PIP: Final = """
import platform, runpy
platform.machine = lambda: "aarch64"
platform.python_version = lambda: "{python}.2"
platform.python_version_tuple = lambda: tuple("{python}.2".split("."))
runpy.run_module("pip", run_name="__main__")
"""


def target(python: str, glibc: int) -> list[str]:
    """pip's words for aarch64 with a glibc up to 2.`glibc`: wheels only."""
    platforms = [*(f"manylinux_2_{n}_aarch64" for n in range(glibc, 16, -1)), "manylinux2014_aarch64"]
    words = [word for name in platforms for word in ("--platform", name)]
    return [*words, "--python-version", python, "--implementation", "cp", "--only-binary=:all:"]


def requirements(extras: Sequence[str] = EXTRAS) -> list[str]:
    """What pyproject.toml says that the edge needs, references to our own extras resolved."""
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        project: dict[str, Any] = tomllib.load(file)["project"]
    optional: dict[str, list[str]] = project["optional-dependencies"]
    found = set(project["dependencies"])
    waiting = list(extras)
    seen: set[str] = set()
    while waiting:
        extra = waiting.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in optional[extra]:
            if own := re.fullmatch(r"emberwatch\[(.*)\]", requirement):
                waiting += own[1].split(",")
            else:
                found.add(requirement)
    return sorted(found)


def pip(arguments: Sequence[str], python: str) -> str:
    """What pip said, for the guest's platform. Raises NoRig with the end of that."""
    verb, *words = arguments
    if tuple(map(int, python.split("."))) > sys.version_info:
        words.insert(0, "--ignore-requires-python")  # pip compares with the Python that it runs on
    done = subprocess.run(
        [sys.executable, "-c", PIP.format(python=python), verb, *words],
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise cache.NoRig(f"pip {' '.join(arguments[:2])} ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout


def dependencies(suite: Suite) -> Path:
    """The image of what the edge extras need. Raises NoRig."""
    wanted = requirements()
    words = target(suite.python, suite.glibc)
    place = cache.entry(f"edge.{suite.name}", [wanted, words])
    with cache.lock():
        if not place.exists():
            with cache.building(place) as made:
                folder = made / "site-packages"
                install(suite, [*words, *wanted], folder)
                image(folder, made / "edge.img", spare_mb=40)
                shutil.rmtree(folder)
    return place / "edge.img"


def install(suite: Suite, what: Sequence[str], folder: Path) -> None:
    """Unpacked and compiled for the guest's Python. Raises NoRig."""
    compiled = [] if suite.python == HERE else ["--no-compile"]
    pip(["install", "-q", "--no-warn-conflicts", *compiled, "--target", str(folder), *what], suite.python)
    if compiled:
        system.compile_python(suite, folder, system.target(suite) / "python")


def own_wheel(suite: Suite, place: Path) -> Path:
    """The image of this checkout's wheel, built and unpacked in `place`. Raises RuntimeError: it cannot be built."""
    try:
        pip(["wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), str(REPOSITORY)], HERE)
    except cache.NoRig as error:  # ours to mend, and no reason to skip
        raise RuntimeError(f"our own wheel: {error}") from error
    (wheel,) = place.glob("emberwatch-*.whl")
    folder = place / "emberwatch"
    install(suite, ["--no-deps", "--no-index", str(wheel)], folder)
    python = (
        folder / "venv/bin/python"
    )  # what deploy/pi's units start: the guest's Python, with both images on its path
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nPYTHONPATH=/opt/emberwatch:/opt/edge exec /usr/bin/python3 "$@"\n')
    for program in (python, folder / "mosquitto/start"):
        program.chmod(0o755)
    image(folder, place / "emberwatch.img", spare_mb=8)
    return place / "emberwatch.img"
