"""A user's own recordings: files as the sensor reads them, rows as the server stores them."""

import asyncio
import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pytest

from services.bus.counters import Counters
from services.bus.messages import Layout, read
from services.bus.profiles import load_profile
from services.bus.topics import Topic
from services.ingest.layouts import Layouts
from services.ingest.rows import Entry, StreamKey, row
from services.ingest.writer import Writer
from tests.ingest.conftest import BOOT, START, payload, sample
from training.data import own
from training.data.errors import DataError
from training.data.own import Devices, load, load_database

RECORDINGS = Path(__file__).resolve().parents[2] / "recordings"


def write(path: Path, volts: float = 1.0, gap_s: int = 0, rows: int = 20) -> Path:
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["ts", "voltage", "current", "temperatures_1", "temperatures_2"])
        for i in range(rows):
            moment = begin + timedelta(seconds=i + (gap_s if i >= rows // 2 else 0))
            out.writerow([moment.isoformat(), volts * (350 + i / 10), -4.5, 25 + i / 10, "" if i == 3 else 24])
    return path


def test_a_recording_is_a_run_as_the_sensor_reads_it(tmp_path: Path) -> None:
    (run,) = load(write(tmp_path / "cellar.csv"), label=0)
    assert (run.source, run.group, run.unit, run.label) == ("own", "cellar", "cellar", 0)
    assert run.time_s[0] == datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    assert run.channels["voltage"][10] == pytest.approx(351)
    assert np.isnan(run.channels["temperatures"][3, 1])
    assert run.channels["temperature_min"][[2, 3]].tolist() == pytest.approx([24, 25.3])  # derived
    assert "cell_voltages" not in run.channels


def test_a_folder_is_read_and_a_long_silence_begins_another_run(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", gap_s=7200)
    write(tmp_path / "b.csv")
    assert [(run.unit, len(run)) for run in load(tmp_path)] == [("a", 10), ("a", 10), ("b", 20)]
    assert {run.label for run in load(tmp_path)} == {-1}


@pytest.mark.parametrize(
    ("volts", "error"),
    [
        (0.001, r"pack\.csv, row 0: unit: voltage is 0\.3\d+ V .*kilovolts"),
        (1000, r"pack\.csv, row 0: unit: voltage: 100%"),
    ],
)
def test_a_recording_in_another_unit_is_refused(tmp_path: Path, volts: float, error: str) -> None:
    with pytest.raises(DataError, match=error):
        list(load(write(tmp_path / "pack.csv", volts)))


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"recordings: no \.parquet and no \.csv"):
        list(load(tmp_path))


def store(url: str, device: str, layout: Layout, fields: list[dict[str, Any]]) -> None:
    """As the server stores it."""

    async def write() -> None:
        pool = await asyncpg.create_pool(url, min_size=1, max_size=2)
        stored, _ = await Layouts(pool).publish(Topic("pi", device, "layout", "battery"), layout)
        await pool.close()
        topic = Topic("pi", device, "telemetry", "battery")
        entries = []
        for content in fields:
            message: Any = read(topic, payload(content))
            entry = Entry(str(topic), b"-", None, StreamKey.of(topic, message.boot), list(row(message, stored)))
            entry.seqs.append(message.seq)
            entries.append(entry)
        writer = Writer(url, Counters())
        await writer.write(entries)
        await writer.close()

    asyncio.run(write())


LAYOUT = load_profile("battery").layout({"voltage": None, "current": None, "cell_voltages": 3})
OTHER = "00000000000000b2"


def stored_samples(boot: str = BOOT, layout: Layout = LAYOUT) -> list[dict[str, Any]]:
    made = [sample(seq, boot=boot, layout=layout.hash) for seq in range(30)]
    made[4]["quality"] = {"voltage": "fault:crc", "cell_voltages[1]": "range"}
    made[5]["quality"] = {"current": "suspect", "cell_voltages": "fault:bus"}
    return made


def test_what_the_server_has_is_read_as_bundles_see_it(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "BATCH", 7)
    store(postgres_url, "pack-1", LAYOUT, stored_samples())
    (run,) = load_database(postgres_url, Devices(), label=1, fault="internal_short")
    assert (run.group, run.unit, run.label, run.fault) == ("pi/pack-1", "pi/pack-1", 1, "internal_short")
    assert len(run) == 30
    assert run.time_s.tolist() == [START.timestamp() + i for i in range(30)]
    assert np.nonzero(np.isnan(run.channels["voltage"]))[0].tolist() == [4]
    assert run.channels["voltage"][3] == pytest.approx(358.2)
    assert run.channels["current"].tolist() == [-4.5] * 30
    assert run.channels["cell_voltages"][3] == pytest.approx([3.701, 3.712, np.nan], nan_ok=True)
    assert run.channels["cell_voltages"][4] == pytest.approx([3.701, np.nan, np.nan], nan_ok=True)
    assert np.isnan(run.channels["cell_voltages"][5]).all()


def test_devices_times_starts_and_silences_are_told_apart(postgres_url: str) -> None:
    later = stored_samples()
    for fields in later[20:]:
        fields["ts"] = sample(fields["seq"], ts=START + timedelta(hours=2, seconds=fields["seq"]))["ts"]
    store(postgres_url, "pack-1", LAYOUT, later)
    store(postgres_url, "pack-1", LAYOUT, stored_samples(OTHER))
    store(postgres_url, "pack-2", LAYOUT, stored_samples("00000000000000c3"))
    lengths = [(run.unit, len(run)) for run in load_database(postgres_url, Devices())]
    assert lengths == [("pi/pack-1", 20), ("pi/pack-1", 10), ("pi/pack-1", 30), ("pi/pack-2", 30)]
    some = Devices("pi", "pack-2", START + timedelta(seconds=5), START + timedelta(seconds=9))
    assert [len(run) for run in load_database(postgres_url, some)] == [4]


def test_a_changed_layout_begins_another_run(postgres_url: str) -> None:
    less = load_profile("battery").layout({"voltage": None})
    store(postgres_url, "pack-1", LAYOUT, stored_samples()[:10])
    rest = [sample(seq, layout=less.hash, channels={"voltage": 355.0}) for seq in range(10, 15)]
    store(postgres_url, "pack-1", less, rest)
    runs = list(load_database(postgres_url, Devices()))
    assert [sorted(run.channels) for run in runs] == [["cell_voltages", "current", "voltage"], ["voltage"]]


def test_a_database_that_has_nothing_or_is_none_is_named(postgres_url: str) -> None:
    with pytest.raises(DataError, match=r"database: devices: no telemetry of .*pack-9"):
        list(load_database(postgres_url, Devices(device="pack-9")))
    with pytest.raises(DataError, match="database: readable"):
        list(load_database("postgresql://nobody@127.0.0.1:1/none", Devices()))
    with pytest.raises(DataError, match="database: readable"):
        list(load_database("nonsense", Devices()))
