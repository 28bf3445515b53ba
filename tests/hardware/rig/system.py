"""The root file system and kernel: Debian's own arm64 packages, unchanged. Building needs root and some minutes.

Of the host nothing changes but that missing `HOST_PACKAGES` are installed: mounts are made in a namespace of their own,
and the kernel is fetched with an apt that has its own folders, so that no foreign architecture is ever added.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.hardware.rig import cache, parts

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
APT = """
Dir::State "{place}"; Dir::State::Lists "{place}/lists"; Dir::State::status "{place}/status"; Dir::Cache "{place}";
Dir::Etc::SourceList "{root}/etc/apt/sources.list"; Dir::Etc::SourceParts "/dev/null";
Dir::Etc::TrustedParts "{root}/etc/apt/trusted.gpg.d";
APT::Architecture "arm64"; APT::Architectures {{ "arm64"; }}; APT::Sandbox::User "root"; Acquire::Languages "none";
"""
# Mounts and binfmt live and die with this shell's own mount namespace.
BOOTSTRAP = """
set -eu
[ -e {binfmt}/register ] || mount -t binfmt_misc binfmt_misc {binfmt}
[ -e {binfmt}/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64
exec debootstrap --arch=arm64 --variant=minbase --cache-dir="$DEBS" --include="$PACKAGES" "$SUITE" "$ROOT"
"""


def root_target() -> Path:
    """The cache entry of the installed packages, a folder: what takes minutes."""
    return cache.entry("root", [BOOTSTRAP, parts.SUITE, parts.SYSTEM_PACKAGES])


def target() -> Path:
    """The cache entry of what is booted: system.img, vmlinuz, version, modules/ (the initial ramdisk's), busybox."""
    made_of = [root_target().name, parts.LEFT_OUT, parts.KERNEL, parts.MODULES, parts.FIRST_MODULES, parts.MASKED_UNITS]
    return cache.entry("system", made_of)


def ready() -> Path:
    """What there is to boot. EMBERWATCH_RIG=use asks for it, =build also builds what is missing. Raises NoRig."""
    wish = os.environ.get("EMBERWATCH_RIG")
    if wish == "build":
        return prepare()
    if wish != "use":
        raise cache.NoRig("the virtual Pi is booted on request only: EMBERWATCH_RIG=use (or build, as root)")
    with cache.lock():  # a build may be going on
        if target().exists() and not missing_packages():
            return target()
    raise cache.NoRig("no virtual Pi on this machine: run `python -m tests.hardware.rig prepare` once as root")


def prepare() -> Path:
    """Build what is missing. Raises NoRig."""
    with cache.lock():
        install_host_packages()
        if not root_target().exists():
            need_root("building the root file system")
            with cache.building(root_target()) as made:
                bootstrap(made)
        if not target().exists():
            need_root("building the image of the root file system")
            with cache.building(target()) as made:
                build(made)
    return target()


def missing_packages() -> list[str]:
    return sorted({package for name, package in parts.HOST_PACKAGES.items() if not shutil.which(name, path=PATH)})


def install_host_packages() -> None:
    """Raises NoRig: one is missing and this is not root on Debian, or it cannot be had."""
    missing = missing_packages()
    if not missing:
        return
    wanted = f"packages {' '.join(missing)}"
    need_root(wanted)
    if not shutil.which("apt-get"):
        raise cache.NoRig(f"no apt-get here for {wanted}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    command(["apt-get", "update", "-qq"], quiet)
    command(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], quiet)


def need_root(what: str) -> None:
    if os.geteuid():
        raise cache.NoRig(f"{what}: run `python -m tests.hardware.rig prepare` once as root")


def bootstrap(root: Path) -> None:
    """Raises NoRig: a step failed; its text has the last lines of what it said."""
    debs = cache.folder() / "debs"
    debs.mkdir(exist_ok=True)
    command(
        ["unshare", "--mount", "sh", "-c", BOOTSTRAP.format(binfmt=BINFMT)],
        {"DEBS": str(debs), "PACKAGES": ",".join(parts.SYSTEM_PACKAGES), "SUITE": parts.SUITE, "ROOT": str(root)},
    )


def build(made: Path) -> None:
    """Raises NoRig: a step failed; its text has the last lines of what it said."""
    root, place = made / "root", made / "apt"
    command(["cp", "-a", "--reflink=auto", str(root_target()), str(root)])
    version = fetch_kernel(root, place, made)
    for name in parts.LEFT_OUT:
        shutil.rmtree(root / name, ignore_errors=True)
    (root / "etc/hostname").write_text("virtual-pi\n")
    (root / "etc/fstab").write_text("")
    for unit in parts.MASKED_UNITS:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    shutil.copy(root / "bin/busybox", made / "busybox")
    (made / "modules").mkdir()
    for number, name in enumerate(parts.FIRST_MODULES):
        (found,) = (root / "lib/modules" / version).rglob(f"{name}.ko")
        shutil.copy(found, made / "modules" / f"{number:02}-{name}.ko")
    (made / "version").write_text(version)
    image(root, made / "system.img", spare_mb=200)
    shutil.rmtree(root)
    shutil.rmtree(place)


def fetch_kernel(root: Path, place: Path, made: Path) -> str:
    """Its image to `made`, the modules that are wanted to `root`; return its version."""
    (place / "lists/partial").mkdir(parents=True)
    (place / "archives/partial").mkdir(parents=True)
    (place / "status").touch()
    (place / "apt.conf").write_text(APT.format(place=place, root=root))
    own = {"APT_CONFIG": str(place / "apt.conf")}
    command(["apt-get", "update", "-qq"], own)
    said = command(["apt-cache", "depends", "--important", parts.KERNEL], own)
    (package,) = [line.split()[1] for line in said.splitlines() if "Depends: linux-image-" in line]
    command(["apt-get", "download", "-qq", package], own, cwd=place)
    (deb,) = place.glob(f"{package}_*.deb")
    command(["dpkg-deb", "-x", str(deb), str(place / "kernel")])
    version = package.removeprefix("linux-image-")
    shutil.copy(place / "kernel/boot" / f"vmlinuz-{version}", made / "vmlinuz")
    modules = Path("lib/modules") / version
    whole, kept = place / "kernel" / modules, root / modules
    for name in parts.MODULES:
        found = whole / "kernel" / name
        if found.is_dir():
            shutil.copytree(found, kept / "kernel" / name, dirs_exist_ok=True)
        elif found.exists():
            (kept / "kernel" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, kept / "kernel" / name)
        else:
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
