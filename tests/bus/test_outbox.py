"""The outbox: what was handed over survives kill -9; a disk that refuses stops nothing."""

import asyncio
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from services.bus import outbox as module
from services.bus.errors import JournalError
from services.bus.holdings import Entry
from services.bus.outbox import Outbox
from services.bus.ranges import RangeSet

STREAM, BOOT = "emberwatch/v1/pi/pack-1/telemetry/battery", "9f3c0a517be2d4c8"
KEY = (STREAM, BOOT)
ALL = RangeSet([(0, 10**9)])


def entry(seq: int, size: int = 100) -> Entry:
    return Entry(
        STREAM, BOOT, seq, time.time(), 1e9 + seq, b"%d " % seq + random.Random(seq).randbytes(size)
    )  # shrinks not


@asynccontextmanager
async def opened(folder: Path, group_s: float = 1000.0, tail_dir: Path | None = None) -> AsyncIterator[Outbox]:
    async with Outbox(folder, group_s=group_s, max_bytes=2**30, max_age_s=1e9, tail_dir=tail_dir) as outbox:
        yield outbox


async def seqs(outbox: Outbox) -> list[int]:
    return [seq for seq, _ in await outbox.read(*KEY, ALL, 10**6)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - counters have no event
            await asyncio.sleep(0.01)


async def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path / "o") as outbox:
        for seq in range(10):
            outbox.append(entry(seq))
        outbox.remember("state", {"at": 9})
        assert await seqs(outbox) == list(range(10))
        outbox.append(entry(10))
    async with opened(tmp_path / "o") as outbox:
        assert await seqs(outbox) == list(range(11))
        assert outbox.recall("state") == {"at": 9}
        assert outbox.recall("other") is None
        assert list((await outbox.index())[KEY].held) == [(0, 10)]


PROCESS = """
import asyncio, sys, time
from pathlib import Path
from services.bus.holdings import Entry
from services.bus.outbox import Outbox

async def main():
    tail_dir = Path(sys.argv[5]) if len(sys.argv) > 5 else None
    async with Outbox(
        Path(sys.argv[1]), group_s=float(sys.argv[2]), max_bytes=2**30, max_age_s=1e9, tail_dir=tail_dir
    ) as outbox:
        for seq in range(10**9):
            outbox.append(Entry(sys.argv[3], sys.argv[4], seq, time.time(), 1e9, b"x" * 200))
            outbox.remember("state", {"at": seq})
            if seq % 7 == 0:
                await outbox.hand_over()
            if seq % 500 == 3:
                await outbox.index()
            if seq % 7 == 0:
                print(seq, flush=True)

asyncio.run(main())
"""


def killed_after(count: int, command: list[str]) -> int:
    """Start a process, kill it when it has handed over `count`; returns how many it said it had."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while int(line := process.stdout.readline()) < count:
            pass
        process.kill()
        rest = [line, *process.stdout.read().splitlines(keepends=True)]
        assert process.wait(10) == -signal.SIGKILL
        return int([line for line in rest if line.endswith("\n")][-1])


@pytest.mark.parametrize(("group_s", "memory"), [(1000.0, False), (0.01, False), (1000.0, True)])
async def test_what_was_handed_over_survives_kill_9(tmp_path: Path, group_s: float, memory: bool) -> None:
    tail_dir = tmp_path / "run" / "tails" if memory else None
    for _ in range(3):
        command = [sys.executable, "-c", PROCESS, str(tmp_path / "o"), str(group_s), *KEY]
        handed_over = await asyncio.to_thread(killed_after, 3000, command + [str(tail_dir)] * memory)
    assert (tmp_path / "o" / "tail.log").exists() is not memory
    async with opened(tmp_path / "o", tail_dir=tail_dir) as outbox:
        found = await seqs(outbox)
        assert found == list(range(len(found)))
        assert found[-1] >= handed_over
        state = outbox.recall("state")
        assert state is not None
        assert handed_over <= state["at"] <= found[-1]  # never a state without the messages before it


async def test_a_second_process_on_one_folder_is_a_named_error(tmp_path: Path) -> None:
    async with opened(tmp_path / "o") as outbox:
        outbox.append(entry(0))
        command = [sys.executable, "-c", PROCESS, str(tmp_path / "o"), "1", *KEY]
        second = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
        assert second.returncode == 1
        assert "JournalError" in second.stderr
        assert "another process uses this data folder" in second.stderr
        with pytest.raises(JournalError):
            await Outbox(tmp_path / "o", group_s=1, max_bytes=1, max_age_s=1).__aenter__()
        assert await seqs(outbox) == [0]


@pytest.mark.parametrize("content", [b"no database " * 1000, b"SQLite format 3\0" + b"\xff" * 8000, b"\0" * 8192])
async def test_a_corrupt_journal_is_moved_aside_and_the_tail_is_kept(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "o"
    async with opened(folder) as outbox:
        for seq in range(3):
            outbox.append(entry(seq))
        await outbox.hand_over()
        tail = (folder / "tail.log").read_bytes()
    (folder / "journal.sqlite3").write_bytes(content)
    (folder / "tail.log").write_bytes(tail)
    async with opened(folder) as outbox:
        assert outbox.counters["journal_corrupt"] == 1
        assert outbox.counters["journal_failing"] == 0
        assert await seqs(outbox) == [0, 1, 2]
    aside = list(folder.glob("journal.corrupt-*.sqlite3"))
    assert [path.read_bytes() for path in aside] == [content]


async def test_a_journal_damaged_while_it_is_used_is_replaced_and_the_service_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    async with opened(folder) as outbox:
        for seq in range(6000):  # more than SQLite keeps in memory
            outbox.append(entry(seq, 800))
        outbox.remember("state", {"at": 5999})
        assert await outbox.commit(durable=True)
    async with opened(folder) as outbox:
        with (folder / "journal.sqlite3").open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        assert await seqs(outbox) == []
        assert outbox.counters["journal_corrupt"] == 1
        for seq in range(6000, 6010):
            outbox.append(entry(seq))
        assert await outbox.commit(durable=True)
        assert await seqs(outbox) == list(range(6000, 6010))
    async with opened(folder) as outbox:
        assert outbox.recall("state") == {"at": 5999}
        assert await seqs(outbox) == list(range(6000, 6010))


async def test_a_torn_tail_gives_what_comes_before_and_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    async with opened(folder) as outbox:
        for seq in range(3):
            outbox.append(entry(seq))
        await outbox.hand_over()
        tail = (folder / "tail.log").read_bytes()
    (folder / "journal.sqlite3").unlink()
    (folder / "tail.log").write_bytes(tail[:-30])
    async with opened(folder) as outbox:
        assert await seqs(outbox) == [0, 1]
        assert outbox.counters["tail_damaged_bytes"] > 0


async def test_in_a_read_only_folder_messages_are_kept_in_memory_until_it_can_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "o"
    folder.touch()  # no folder can be made here: refused to root, too
    async with opened(folder, group_s=0.1) as outbox:
        assert outbox.counters["journal_failing"] == 1
        assert str(folder) in caplog.text
        for seq in range(3):
            outbox.append(entry(seq))
        outbox.remember("state", {"at": 2})
        assert await outbox.commit(durable=True)
        await outbox.confirm(*KEY, RangeSet([(0, 0)]))
        assert await seqs(outbox) == [0, 1, 2]
        folder.unlink()
        await until(lambda: outbox.counters["journal_failing"] == 0)
        outbox.append(entry(3))
    async with opened(folder) as outbox:
        assert await seqs(outbox) == [0, 1, 2, 3]
        assert list((await outbox.index())[KEY].confirmed) == [(0, 0)]
        assert outbox.recall("state") == {"at": 2}


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights, for which no folder is read-only."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


async def test_a_folder_without_the_right_to_write_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name) / "o"
        async with opened(folder) as outbox:
            outbox.append(entry(0))
        folder.chmod(0o555)
        folder.parent.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o444)
        with as_nobody():
            async with opened(folder) as outbox:
                outbox.append(entry(1))
                assert outbox.counters["journal_failing"] == 1
                assert "Permission denied" in caplog.text
                assert await seqs(outbox) == [1]
        folder.chmod(0o755)


@contextmanager
def full_disk(folder: Path) -> Iterator[Callable[[], None]]:
    """A folder on a disk that is full until the function is called: no file can grow beyond its size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(f.stat().st_size for f in folder.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores SIGXFSZ: writing is an OSError
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_with_a_full_disk_messages_wait_in_memory_and_are_written_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.1)
    folder = tmp_path / "o"
    async with opened(folder, group_s=0.1) as outbox:
        outbox.append(entry(0))
        assert await outbox.commit(durable=True)
        with full_disk(folder) as make_room:
            for seq in range(1, 400):
                outbox.append(entry(seq, 2000))
                outbox.remember("state", {"at": seq})
            await until(lambda: outbox.counters["journal_failing"] == 1)
            assert not await outbox.commit(durable=True)
            assert await seqs(outbox) == list(range(400))
            failed = outbox.counters["journal_failed"]
            await until(lambda: outbox.counters["journal_failed"] > failed)  # it goes on trying
            make_room()
            await until(lambda: outbox.counters["journal_failing"] == 0)
            await outbox.hand_over()
    async with opened(folder) as outbox:
        assert await seqs(outbox) == list(range(400))
        assert outbox.recall("state") == {"at": 399}


async def test_what_even_memory_cannot_keep_is_known_to_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_MESSAGES", 100)
    folder = tmp_path / "o"
    async with opened(folder) as outbox:
        outbox.append(entry(0))
        assert await outbox.commit(durable=True)
        with full_disk(folder):
            for seq in range(1, 301):
                outbox.append(entry(seq, 2000))
            assert not await outbox.commit(durable=True)
            assert await seqs(outbox) == [0, *range(201, 301)]
            assert outbox.counters["journal_lost"] == 200
    async with opened(folder) as outbox:
        index = (await outbox.index())[KEY]
        assert [(t.first, t.last) for t in index.lost] == [(1, 200)]
        assert list(index.held) == [(0, 0), (201, 300)]


async def test_commits_at_once_from_many_places_lose_and_repeat_nothing(tmp_path: Path) -> None:
    async def publish(outbox: Outbox, seqs: range) -> None:
        for seq in seqs:
            outbox.append(entry(seq))
            outbox.remember("state", {"at": seq})
            await (outbox.commit(durable=seq % 3 == 0) if seq % 2 else outbox.hand_over())
            if seq % 10 == 0:
                task = asyncio.ensure_future(outbox.commit(durable=True))
                await asyncio.sleep(0)
                task.cancel()  # whoever gives up waiting takes nothing with him
                await asyncio.gather(task, return_exceptions=True)

    async with opened(tmp_path / "o", group_s=0.01) as outbox:
        await asyncio.gather(*(publish(outbox, range(a, a + 100)) for a in range(0, 500, 100)))
        await outbox.commit(durable=True)
        assert await seqs(outbox) == list(range(500))
    database = sqlite3.connect(tmp_path / "o" / "journal.sqlite3")
    assert database.execute("select sum(count) from message").fetchone() == (500,)
    assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    database.close()
    assert (tmp_path / "o" / "tail.log").stat().st_size == 0


async def test_the_ring_drops_the_oldest_and_says_so(tmp_path: Path) -> None:
    async with Outbox(tmp_path / "o", group_s=0.05, max_bytes=2000, max_age_s=1e9) as outbox:
        for seq in range(40):
            outbox.append(entry(seq, 96))
            await outbox.commit(durable=False)  # blocks of one
        await until(lambda: outbox.counters["journal_lost"] > 0)
        index = (await outbox.index())[KEY]
        assert index.held.highest == 39
        assert [(t.first, t.last) for t in index.lost] == [(0, index.held.head(1).highest - 1)]
        assert outbox.counters["journal_lost"] == index.held.head(1).highest


async def test_a_disk_that_refuses_large_messages_for_long_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.bus.outbox.MEMORY_BYTES", 100_000)
    async with opened(tmp_path / "o") as outbox:
        monkeypatch.setattr(outbox, "_commit", lambda *_: False)
        for seq in range(10):
            outbox.append(entry(seq, 30_000))
        assert not await outbox.commit(durable=True)
        assert outbox.counters["journal_lost"] == 7
        monkeypatch.undo()
        assert await seqs(outbox) == [7, 8, 9]


async def test_a_tail_beside_the_journal_is_taken_when_it_moves_into_memory(tmp_path: Path) -> None:
    folder, memory = tmp_path / "o", tmp_path / "run"
    async with opened(folder) as outbox:
        for seq in range(3):
            outbox.append(entry(seq))
        outbox.remember("state", {"at": 2})
        await outbox.hand_over()
        tail = (folder / "tail.log").read_bytes()
    (folder / "journal.sqlite3").unlink()
    (folder / "tail.log").write_bytes(tail)
    async with opened(folder, tail_dir=memory) as outbox:
        assert await seqs(outbox) == [0, 1, 2]
        assert outbox.recall("state") == {"at": 2}
        assert not (folder / "tail.log").exists()
        assert len(list(memory.iterdir())) == 1


async def test_two_services_share_a_folder_in_memory(tmp_path: Path) -> None:
    async with (
        opened(tmp_path / "a", tail_dir=tmp_path / "run") as one,
        opened(tmp_path / "b", tail_dir=tmp_path / "run") as other,
    ):
        one.append(entry(0))
        await one.hand_over()
        other.append(entry(1))
        await other.hand_over()
        assert sorted(f.stat().st_size > 0 for f in (tmp_path / "run").iterdir()) == [True, True]


async def test_where_memory_gives_no_folder_the_tail_is_beside_the_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").touch()
    async with opened(tmp_path / "o", tail_dir=tmp_path / "run" / "tails") as outbox:
        outbox.append(entry(0))
        await outbox.hand_over()
        assert (tmp_path / "o" / "tail.log").stat().st_size > 0
        assert outbox.counters["journal_failing"] == 0
    assert "the tail is kept beside the journal" in caplog.text
