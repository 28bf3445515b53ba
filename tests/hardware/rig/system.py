"""The root file system and kernel: Debian's own arm64 packages, unchanged, unpacked but not set up by their scripts.

Those scripts would run in emulation, ten minutes of them; what they do that is needed is in `set_up`. Building needs
root, for the owners of files. Of the host nothing changes but that missing `HOST_PACKAGES` are installed: packages are
fetched with an apt that has folders of its own, so that no foreign architecture is ever added.
"""

import lzma
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from tests.hardware.rig import cache, parts

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
APT = """
Dir::State "{place}"; Dir::State::Lists "{place}/lists"; Dir::State::status "{place}/status"; Dir::Cache "{place}";
Dir::Etc::SourceList "{place}/sources.list"; Dir::Etc::SourceParts "/dev/null";
APT::Architecture "arm64"; APT::Architectures {{ "arm64"; }}; APT::Sandbox::User "root"; Acquire::Languages "none";
APT::Install-Recommends "false"; APT::Get::Assume-Yes "true"; APT::Keep-Downloaded-Packages "true";
"""
SOURCE = f"deb [signed-by={parts.KEYRING}] {parts.MIRROR} {{suite}} main\n"
COMPILE = """
find "$0" '(' {leave} ')' -prune -o -name '*.py' -print0 |
xargs -0 -n 50 -P "$(nproc)" qemu-aarch64-static -L "$1" "$2" -Im compileall -q
"""
COMPILES = ("ld-linux", "libc.so", "libm.so", "libz.so", "libexpat.so")  # what a Python needs that only compiles
UNPACK = 'dpkg-deb --fsys-tarfile "$0" | tar -x --keep-directory-symlink -C "$1"'


def target(suite: parts.Suite) -> Path:
    """The cache entry of what is booted: system.img, vmlinuz, version, modules/ (the initial ramdisk's), busybox, and
    in python/ the guest's Python, to compile with."""
    data = [
        astuple(suite),
        parts.SYSTEM_PACKAGES,
        parts.USERS,
        parts.GROUPS,
        parts.LINKS,
        parts.COPIES,
        parts.LEFT_OUT,
        parts.KERNEL,
    ]
    return cache.entry(f"system.{suite.name}", [__doc__, data, parts.MODULES, parts.FIRST_MODULES, parts.MASKED_UNITS])


def ready(suite: parts.Suite) -> Path:
    """What there is to boot; what is missing is built first, where that can be. Raises NoRig."""
    if os.environ.get("EMBERWATCH_RIG") == "off":
        raise cache.NoRig("the virtual Pi is switched off: EMBERWATCH_RIG=off")
    with cache.lock():  # a build may be going on
        if not target(suite).exists() or missing_packages():
            build_missing(suite)
    return target(suite)


def build_missing(suite: parts.Suite) -> None:
    """Raises NoRig."""
    need_root("the virtual Pi")
    install_host_packages()
    if not target(suite).exists():
        with cache.building(target(suite)) as made:
            build(suite, made)


def missing_packages() -> list[str]:
    def there(name: str) -> bool:
        return Path(name).exists() if name.startswith("/") else shutil.which(name, path=PATH) is not None

    return sorted({package for name, package in parts.HOST_PACKAGES.items() if not there(name)})


def install_host_packages() -> None:
    """Raises NoRig: one is missing and this is not root on Debian, or it cannot be had."""
    missing = missing_packages()
    if not missing:
        return
    need_root(f"the packages {' '.join(missing)}")
    if not shutil.which("apt-get"):
        raise cache.NoRig(f"no apt-get here for the packages {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    command(["apt-get", "update", "-qq"], quiet)
    command(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], quiet)


def need_root(what: str) -> None:
    if os.geteuid():
        raise cache.NoRig(f"{what}: not there yet; run `sudo python3 -m tests.hardware.rig prepare` once")


def build(suite: parts.Suite, made: Path) -> None:
    """Raises NoRig: a step failed; its text has the last lines of what it said."""
    root, place = made / "root", made / "apt"
    own = apt(suite, place)
    command(["apt-get", "install", "-qq", "--download-only", "?essential", *parts.SYSTEM_PACKAGES], own)
    unpack(sorted((place / "archives").glob("*.deb")), root)
    set_up(suite, root)
    version = add_kernel(suite, root, place, made, own)
    shutil.copy(root / "usr/bin/busybox", made / "busybox")
    (made / "modules").mkdir()
    for number, name in enumerate(parts.FIRST_MODULES):
        (found,) = (root / "usr/lib/modules" / version).rglob(f"{name}.ko")
        shutil.copy(found, made / "modules" / f"{number:02}-{name}.ko")
    (made / "version").write_text(version)
    image(root, made / "system.img", spare_mb=200)
    keep_python(suite, root, made / "python")
    shutil.rmtree(root)
    shutil.rmtree(place)


def apt(suite: parts.Suite, place: Path) -> dict[str, str]:
    """The environment of an apt for the guest, with all that it knows in `place`."""
    for name in ("lists", "archives"):
        (place / name / "partial").mkdir(parents=True)
    (place / "status").touch()
    (place / "sources.list").write_text(SOURCE.format(suite=suite.name))
    (place / "apt.conf").write_text(APT.format(place=place))
    own = {"APT_CONFIG": str(place / "apt.conf")}
    command(["apt-get", "update", "-qq"], own)
    return own


def unpack(packages: Sequence[Path], root: Path) -> None:
    """/bin, /sbin and /lib are links from the beginning, as Debian has them."""
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in packages:
        command(["sh", "-ec", UNPACK, str(package), str(root)])


def set_up(suite: parts.Suite, root: Path) -> None:
    """What the packages' scripts would have done, as far as it is needed here."""
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    for number, user in enumerate(parts.USERS, start=100):
        with (root / "etc/passwd").open("a") as file:
            file.write(f"{user}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n")
        with (root / "etc/group").open("a") as file:
            file.write(f"{user}:x:{number}:\n")
    with (root / "etc/group").open("a") as file:
        file.writelines(f"{group}:x:{number}:\n" for number, group in enumerate(parts.GROUPS, start=110))
    for name, to in parts.LINKS.items():
        if (root / name).is_dir():
            shutil.rmtree(root / name)
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(to)
    for name, source in parts.COPIES.items():
        shutil.copy(root / source, root / name)
    (root / "etc/machine-id").write_text(f"{'1234' * 8}\n")  # without one systemd asks a person at the first boot
    (root / "etc/hostname").write_text("virtual-pi\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 virtual-pi\n")
    (root / "etc/fstab").write_text("")
    for name in parts.LEFT_OUT:
        shutil.rmtree(root / name, ignore_errors=True)
    for unit in parts.MASKED_UNITS:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    compile_python(suite, root / f"usr/lib/python{suite.python}", root)


def compile_python(suite: parts.Suite, folder: Path, root: Path) -> None:
    """What is in a folder, by the guest's own Python (below `root`): the guest would do it at each boot."""
    python = root / f"usr/bin/python{suite.python}"
    leave = " -o ".join(f"-name {name}" for name in parts.NOT_COMPILED)
    command(["sh", "-ec", COMPILE.format(leave=leave), str(folder), str(root), str(python)])


def keep_python(suite: parts.Suite, root: Path, kept: Path) -> None:
    """As much of it as compiles."""
    name, libraries = f"python{suite.python}", "usr/lib/aarch64-linux-gnu"
    (kept / libraries).mkdir(parents=True)
    (kept / "usr/bin").mkdir()
    (kept / "lib").symlink_to("usr/lib")
    shutil.copy(root / "usr/bin" / name, kept / "usr/bin")
    shutil.copytree(root / "usr/lib" / name, kept / "usr/lib" / name, symlinks=True)
    shutil.copy(root / "usr/lib/ld-linux-aarch64.so.1", kept / "usr/lib")
    for file in (root / libraries).iterdir():
        if file.name.startswith(COMPILES):
            shutil.copy(file, kept / libraries)


def add_kernel(suite: parts.Suite, root: Path, place: Path, made: Path, own: Mapping[str, str]) -> str:
    """Its image to `made`, the modules that are wanted to `root`; return its version."""
    said = command(["apt-cache", "depends", "--important", parts.KERNEL], own)
    (package,) = [line.split()[1] for line in said.splitlines() if "Depends: linux-image-" in line]
    command(["apt-get", "download", "-qq", package], own, cwd=place)
    (deb,) = place.glob(f"{package}_*.deb")
    command(["dpkg-deb", "-x", str(deb), str(place / "kernel")])
    version = package.removeprefix("linux-image-")
    shutil.copy(place / "kernel/boot" / f"vmlinuz-{version}", made / "vmlinuz")
    (whole,) = (place / "kernel").glob(f"**/lib/modules/{version}")
    for file in whole.rglob("*.ko.xz"):  # not by a kernel that is emulated
        file.with_suffix("").write_bytes(lzma.decompress(file.read_bytes()))
        file.unlink()
    kept = root / "usr/lib/modules" / version
    builtin = (whole / "modules.builtin").read_text().split()
    for name in (*parts.MODULES, *suite.modules):
        found = whole / "kernel" / name
        if found.is_dir():
            shutil.copytree(found, kept / "kernel" / name, dirs_exist_ok=True)
        elif found.exists():
            (kept / "kernel" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, kept / "kernel" / name)
        elif f"kernel/{name}" not in builtin:
            raise cache.NoRig(f"{package} has no {name}: rig/parts.py names it in MODULES")
    for listing in whole.glob("modules.*"):
        shutil.copy(listing, kept)
    command(["depmod", "-b", str(root), version])
    return version


def image(source: Path, file: Path, *, spare_mb: int) -> None:
    """An ext4 image of a folder, no mount needed; its label is the file's stem (virtio numbers disks as it likes)."""
    used = sum(path.lstat().st_blocks for path in source.rglob("*")) * 512 if source.exists() else 0
    size = (used >> 20) * 11 // 10 + spare_mb
    command(["mke2fs", "-q", "-F", "-t", "ext4", "-L", file.stem, "-d", str(source), str(file), f"{size}M"])


def command(arguments: Sequence[str], more: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """What it printed. Raises NoRig with the end of that: it failed or is not there."""
    environment = dict(os.environ) | {"PATH": PATH, "LC_ALL": "C.UTF-8"} | dict(more or {})
    try:
        done = subprocess.run(
            arguments,
            env=environment,
            cwd=cwd,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise cache.NoRig(f"no {arguments[0]} here") from error
    if done.returncode:
        raise cache.NoRig(f"{' '.join(arguments[:4])} ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout
