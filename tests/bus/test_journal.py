"""The journal against a model of it: what is kept, what is dropped, and what is said of it."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.bus.holdings import Entry
from services.bus.journal import Journal
from services.bus.packing import pack_block
from services.bus.ranges import RangeSet

KEYS = [("t/a", "boot-1"), ("t/a", "boot-2"), ("t/b", "boot-1")]
MAX_BYTES, MAX_AGE_S = 200, 100.0


def open_journal(path: Path | str) -> Journal:
    return Journal(path, max_bytes=MAX_BYTES, max_age_s=MAX_AGE_S)


def entry(key: tuple[str, str], seq: int, at: float = 0.0, size: int = 10, *, timed: bool = True) -> Entry:
    return Entry(*key, seq, at, 1e9 + seq, b"%d " % seq + b"x" * size, timed)


def lost(journal: Journal, key: tuple[str, str]) -> set[int]:
    return {n for t in journal.index[key].lost for n in range(t.first, t.last + 1)}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = open_journal(tmp_path / "journal.sqlite3")
    yield journal
    journal.close()


class Ring(RuleBasedStateMachine):
    """Writes, confirmations, trims, deaths: held = written - dropped; tombstones = dropped unconfirmed, exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "0.sqlite3"
        self.journal = open_journal(self.path)
        self.now = 1000.0
        self.next = dict.fromkeys(KEYS, 0)
        self.held: dict[tuple[str, str], dict[int, Entry]] = {key: {} for key in KEYS}
        self.confirmed: dict[tuple[str, str], set[int]] = {key: set() for key in KEYS}
        self.lost: dict[tuple[str, str], set[int]] = {key: set() for key in KEYS}
        self.blocks: dict[tuple[str, str], list[list[Entry]]] = {key: [] for key in KEYS}
        self.states: dict[str, bytes] = {}
        self.died = 0

    @rule(key=st.sampled_from(KEYS), count=st.integers(1, 5), size=st.integers(0, 40), durable=st.booleans())
    def write(self, key: tuple[str, str], count: int, size: int, durable: bool) -> None:
        self.now += 1
        new = [entry(key, self.next[key] + i, self.now, size) for i in range(count)]
        self.next[key] += count
        self.states = {"s": str(self.now).encode()}
        self.journal.write(new, self.states.items(), durable=durable)
        self.held[key] |= {e.seq: e for e in new}
        self.blocks[key].append(new)

    @rule(key=st.sampled_from(KEYS), seq=st.integers(0, 30))
    def write_again(self, key: tuple[str, str], seq: int) -> None:
        if seq in self.held[key]:
            self.journal.write([entry(key, seq, self.now, 99)], [], durable=False)

    @rule(key=st.sampled_from(KEYS), first=st.integers(0, 30), count=st.integers(1, 10))
    def confirm(self, key: tuple[str, str], first: int, count: int) -> None:
        last = min(first + count, self.next[key]) - 1
        if first <= last:
            self.journal.confirm(*key, RangeSet([(first, last)]))
            self.confirmed[key] |= set(range(first, last + 1))

    @rule(passed=st.floats(0, 80))
    def trim(self, passed: float) -> None:
        self.now += passed
        before = {key: dict(held) for key, held in self.held.items()}
        dropped = self.journal.trim(self.now)
        gone = 0
        for key in KEYS:
            index = self.journal.index.get(key)
            held = {n for a, b in index.held for n in range(a, b + 1)} if index else set()
            unconfirmed = set(before[key]) - held - self.confirmed[key]
            self.lost[key] |= unconfirmed
            gone += len(unconfirmed)
            self.held[key] = {seq: e for seq, e in before[key].items() if seq in held}
            self.blocks[key] = [block for block in self.blocks[key] if block[0].seq in held]
            assert held == {e.seq for block in self.blocks[key] for e in block}  # whole blocks went
        assert dropped == gone
        kept = [e for key in KEYS for e in self.held[key].values()]
        assert all(self.now - e.at <= MAX_AGE_S for e in kept)
        assert self.journal.bytes <= MAX_BYTES
        if gone:  # nothing confirmed was kept while something unconfirmed had to go, but for age
            oldest = min(e.at for key in KEYS for seq, e in before[key].items() if seq not in self.held[key])
            assert self.now - oldest > MAX_AGE_S or not any(
                {e.seq for e in block} <= self.confirmed[key] for key in KEYS for block in self.blocks[key]
            )

    @rule(clean=st.booleans())
    def reopen(self, clean: bool) -> None:
        """A clean end keeps confirmations; a death (files copied as they stand) may forget the last ones."""
        if clean:
            self.journal.close()
        else:
            self.died += 1
            to = self.path.with_name(f"{self.died}.sqlite3")
            for suffix in ("", "-wal"):
                shutil.copy(str(self.path) + suffix, str(to) + suffix)
            self.journal.close()
            self.path = to
        self.journal = open_journal(self.path)
        if not clean:
            for key in KEYS:
                if self.confirmed[key]:
                    self.journal.confirm(*key, RangeSet((n, n) for n in sorted(self.confirmed[key])))

    @invariant()
    def as_modelled(self) -> None:
        assert self.journal.states() == self.states
        blocks = [block for key in KEYS for block in self.blocks[key]]
        assert self.journal.bytes == sum(len(pack_block([(e.ts, e.payload) for e in block])) for block in blocks)
        for key in KEYS:
            found = dict(self.journal.read(*key, [(0, 1000)], 1000))
            assert found == {seq: e.payload for seq, e in self.held[key].items()}
            if key in self.journal.index:
                index = self.journal.index[key]
                assert index.held == RangeSet((seq, seq) for seq in sorted(self.held[key]))
                assert lost(self.journal, key) == self.lost[key]
                if self.held[key]:
                    assert index.from_ts == 1e9 + min(self.held[key])
                    assert index.to_ts >= 1e9 + max(self.held[key])
            else:
                assert not self.held[key]
                assert not self.lost[key]

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()


Ring.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_the_ring = Ring.TestCase


def test_confirmed_messages_are_dropped_first_whatever_their_age(journal: Journal) -> None:
    for n in range(5):
        journal.write([entry(KEYS[0], n, 1.0, 20)], [], durable=False)
    for n in range(6):
        journal.write([entry(KEYS[2], n, 2.0, 20)], [], durable=False)
    journal.confirm(*KEYS[2], RangeSet([(2, 4)]))
    assert journal.trim(3.0) == 0
    assert list(journal.index[KEYS[0]].held) == [(0, 4)]
    assert list(journal.index[KEYS[2]].held) == [(0, 1), (4, 5)]


def test_only_what_is_too_old_is_dropped_for_its_age(journal: Journal) -> None:
    for n, at in enumerate((0.0, 50.0, 101.0)):
        journal.write([entry(KEYS[0], n, at)], [], durable=False)
    assert journal.trim(150.0) == 1
    assert list(journal.index[KEYS[0]].held) == [(1, 2)]
    tombstone = journal.index[KEYS[0]].lost[0]
    assert (tombstone.first, tombstone.last, tombstone.from_ts, tombstone.to_ts) == (0, 0, 1e9, 1e9)


def test_streams_of_one_process_lose_the_oldest_first_not_one_stream_first(journal: Journal) -> None:
    for n in range(6):
        journal.write([entry(KEYS[0], n, n, 20), entry(KEYS[2], n, n + 0.5, 20)], [], durable=False)
    journal.trim(10.0)
    assert abs(journal.index[KEYS[0]].held.count - journal.index[KEYS[2]].held.count) <= 1


def test_messages_of_a_clock_that_was_not_set_do_not_age_until_they_are_dated(journal: Journal) -> None:
    journal.write([entry(KEYS[0], n, 5.0 + n, timed=False) for n in range(3)], [], durable=False)
    assert journal.trim(1.8e9) == 0
    assert not journal.index[KEYS[0]].timed
    journal.date(*KEYS[0], [(n, 1.8e9 - 90 + n, b"dated %d" % n) for n in range(2)], last=False)
    assert not journal.index[KEYS[0]].timed
    journal.date(*KEYS[0], [(2, 1.8e9, b"dated 2")])
    index = journal.index[KEYS[0]]
    assert (index.timed, index.from_ts, index.to_ts) == (True, 1.8e9 - 90, 1.8e9)
    assert journal.read(*KEYS[0], [(0, 9)], 9) == [(n, b"dated %d" % n) for n in range(3)]
    assert journal.trim(1.8e9 + 15) == 0
    assert journal.trim(1.8e9 + 101) == 3


def test_a_block_is_kept_until_its_last_message_is_too_old(journal: Journal) -> None:
    journal.write([entry(KEYS[0], 0, 0.0), entry(KEYS[0], 1, 30.0)], [], durable=False)
    assert journal.trim(129.0) == 0
    assert journal.trim(131.0) == 2
    assert [(t.first, t.last, t.to_ts) for t in journal.index[KEYS[0]].lost] == [(0, 1, 1e9 + 1)]


def test_messages_of_one_group_are_one_row_and_any_of_them_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    journal = open_journal(path)
    journal.write([entry(KEYS[0], n) for n in (9, 3, 4, 5, 8)], [], durable=False)
    journal.write([entry(KEYS[0], n) for n in (6, 7, 10)], [], durable=False)  # a hole is filled
    journal.close()
    with sqlite3.connect(path) as database:
        assert database.execute("select count from message order by id").fetchall() == [(3,), (2,), (2,), (1,)]
    database.close()
    journal = open_journal(path)
    for first in range(2, 12):
        for last in range(first, 12):
            assert [seq for seq, _ in journal.read(*KEYS[0], [(first, last)], 99)] == [
                n for n in range(3, 11) if first <= n <= last
            ]
    assert journal.read(*KEYS[0], [(4, 4), (7, 9)], 3) == [(n, entry(KEYS[0], n).payload) for n in (4, 7, 8)]
    journal.close()


def test_a_damaged_block_is_a_loss_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    journal = open_journal(path)
    for first in (0, 5, 10):
        journal.write([entry(KEYS[0], n) for n in range(first, first + 5)], [], durable=False)
    journal.close()
    with sqlite3.connect(path) as database:
        database.execute("update message set payload = zeroblob(30) where id & 255 = 5")
    database.close()
    journal = open_journal(path)
    journal.confirm(*KEYS[0], RangeSet([(6, 6)]))
    assert [seq for seq, _ in journal.read(*KEYS[0], [(0, 99)], 99)] == [*range(5), *range(10, 15)]
    assert lost(journal, KEYS[0]) == {5, 7, 8, 9}
    assert (journal.damaged, list(journal.index[KEYS[0]].held)) == (5, [(0, 4), (10, 14)])
    journal.close()


def test_a_journal_of_an_earlier_release_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    with sqlite3.connect(path) as database:
        database.executescript(
            "create table message(id integer primary key, at real, ts real, payload blob);"
            "create table boot(number integer primary key, stream text, boot text, closed integer default 0,"
            "  timed integer default 1, confirmed text default '[]', lost text default '[]', unique (stream, boot));"
            "create table state(name text primary key, value blob) without rowid;"
        )
        database.execute("insert into boot(number, stream, boot) values (1, ?, ?)", KEYS[0])
        rows = [(1 << 40 | n, float(n), 1e9 + n, b"%d " % n) for n in range(3)]
        database.executemany("insert into message values (?, ?, ?, ?)", rows)
    database.close()
    journal = open_journal(path)
    journal.write([entry(KEYS[0], n, 5.0, 0) for n in (3, 4)], [], durable=True)
    journal.close()
    journal = open_journal(path)
    assert journal.read(*KEYS[0], [(0, 9)], 9) == [(n, b"%d " % n) for n in range(5)]
    assert (journal.index[KEYS[0]].from_ts, journal.index[KEYS[0]].to_ts) == (1e9, 1e9 + 4)
    assert journal.trim(101.5) == 2
    journal.close()


def test_a_clean_end_is_kept_and_undone_by_going_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    journal = open_journal(path)
    journal.write([entry(KEYS[0], 0)], [], durable=False)
    journal.close_boot(*KEYS[0])
    journal.close()
    journal = open_journal(path)
    assert journal.index[KEYS[0]].closed
    journal.write([entry(KEYS[0], 1)], [], durable=False)  # a recording is resumed
    journal.close()
    journal = open_journal(path)
    assert not journal.index[KEYS[0]].closed
    journal.close()


def test_a_closed_and_empty_boot_is_forgotten(journal: Journal) -> None:
    journal.write([entry(KEYS[0], 0), entry(KEYS[2], 0)], [], durable=False)
    journal.confirm(*KEYS[0], RangeSet([(0, 0)]))
    journal.close_boot(*KEYS[0])
    journal.close_boot(*KEYS[2])
    journal.trim(1000.0)
    assert list(journal.index) == [KEYS[2]]  # lost, and that must be told


def test_a_confirmation_may_come_before_the_first_group_is_written(journal: Journal) -> None:
    journal.confirm(*KEYS[0], RangeSet([(0, 1)]))
    journal.write([entry(KEYS[0], n) for n in range(3)], [], durable=False)
    assert list(journal.index[KEYS[0]].confirmed) == [(0, 1)]


def test_a_failed_write_changes_nothing(journal: Journal) -> None:
    journal.write([entry(KEYS[0], 0)], [("s", b"1")], durable=False)
    journal.confirm(*KEYS[1], RangeSet([(0, 0)]))
    with pytest.raises(sqlite3.Error):
        journal.write(
            [entry(KEYS[0], 1), entry(KEYS[1], 0)],
            [("s", object())],  # type: ignore[list-item]
            durable=True,
        )
    assert list(journal.index) == [KEYS[0]]
    assert (journal.states(), journal.bytes) == ({"s": b"1"}, 12)
    journal.write([entry(KEYS[1], 0)], [], durable=True)
    assert list(journal.index[KEYS[1]].confirmed) == [(0, 0)]


def test_messages_that_could_not_be_kept_are_known_to_be_lost_after_a_restart_too(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    journal = open_journal(path)
    journal.bury([entry(KEYS[0], n) for n in range(3)])
    journal.write([entry(KEYS[0], 3), entry(KEYS[1], 0)], [], durable=True)
    journal.bury([entry(KEYS[2], 0)])
    journal.write([entry(KEYS[1], 1)], [], durable=True)
    journal.close()
    journal = open_journal(path)
    assert (lost(journal, KEYS[0]), list(journal.index[KEYS[0]].held)) == ({0, 1, 2}, [(3, 3)])
    assert lost(journal, KEYS[2]) == {0}
    journal.close()


def test_a_durable_write_syncs_what_was_written_without_before(journal: Journal, tmp_path: Path) -> None:
    """SQLite syncs the log only when a commit adds to it: an empty durable commit must add something."""
    journal.write([entry(KEYS[0], 0)], [], durable=False)
    assert not (tmp_path / "journal.sqlite3-shm").exists()
    size = (tmp_path / "journal.sqlite3-wal").stat().st_size
    journal.write([], [], durable=True)
    assert (tmp_path / "journal.sqlite3-wal").stat().st_size > size
    size = (tmp_path / "journal.sqlite3-wal").stat().st_size
    journal.write([], [], durable=True)  # all is on the disk
    assert (tmp_path / "journal.sqlite3-wal").stat().st_size == size


@pytest.mark.parametrize("content", [b"no database at all, " * 300, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_a_database_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal.sqlite3").write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError):
        open_journal(tmp_path / "journal.sqlite3")


@pytest.mark.parametrize(
    "damage",
    [
        "update boot set lost = '[[1]'",
        "update boot set confirmed = '[[5,1]]'",
        "delete from boot",
        "update message set count = 0",
    ],
)
def test_damaged_content_is_a_database_error(tmp_path: Path, damage: str) -> None:
    journal = open_journal(tmp_path / "journal.sqlite3")
    journal.write([entry(KEYS[0], 0)], [], durable=False)
    journal.close()
    with sqlite3.connect(tmp_path / "journal.sqlite3") as database:
        database.execute(damage)
    database.close()
    with pytest.raises(sqlite3.DatabaseError):
        open_journal(tmp_path / "journal.sqlite3")
