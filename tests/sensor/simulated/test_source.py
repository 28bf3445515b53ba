"""The live source: a reading of every pack each period, by the steady clock."""

import time
from pathlib import Path

from services.sensor.settings import SensorSettings
from services.sensor.simulated.source import SimulatedSource, open_source
from services.sensor.source import Reading

PACKS = """\
period_s: 0.1
packs:
  a: {cells: 4, probes: 2}
  b: {cells: 8, probes: 1}
"""


async def heard(source: SimulatedSource, count: int) -> list[Reading]:
    made = []
    async for reading in source.readings():
        made.append(reading)
        if len(made) == count:
            break
    return made


async def test_every_pack_is_read_each_period(tmp_path: Path) -> None:
    path = tmp_path / "packs.yaml"
    path.write_text(PACKS)
    source = open_source(path, SensorSettings.model_construct())
    assert {name: (d.profile, d.period_s, d.channels["cell_voltages"]) for name, d in source.devices.items()} == {
        "a": ("battery", 0.1, 4),
        "b": ("battery", 0.1, 8),
    }
    begin = time.monotonic()
    made = await heard(source, 6)
    assert [reading.device for reading in made] == ["a", "b"] * 3
    assert [len(reading.channels["cell_voltages"]) for reading in made[:2]] == [4, 8]  # type: ignore[arg-type]
    times = [reading.mono for reading in made]
    assert begin < times[0] == times[1] < times[2] < times[4] <= time.monotonic() + 0.1
    assert times == sorted(times)
    await source.close()


async def test_what_a_busy_machine_slept_through_is_made_up_for(tmp_path: Path) -> None:
    path = tmp_path / "packs.yaml"
    path.write_text(PACKS)
    source = open_source(path, SensorSettings.model_construct())
    await heard(source, 2)
    assert source._reached is not None
    source._reached -= 30.0
    await heard(source, 2)
    assert 30.0 < source._packs["a"]._elapsed < 60.0
