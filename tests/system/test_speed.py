"""A recording gives the same scores and alarms at its own speed, a hundred times faster and as fast as can be."""

import asyncio
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.bus.settings import ROOT
from services.sensor.recorded import open_recording
from services.up import ports
from services.up.settings import DEMO
from services.up.summary import complete
from tests.system.harness import decisive, play

ROWS, PERIOD_S = 160, 0.2


def fast_recording(path: Path) -> Path:
    """160 real rows at 5 a second, with an over-voltage and a hot probe that last a second each."""
    table = pq.read_table(DEMO).slice(0, ROWS)
    start = np.datetime64(table.column("tboxTime")[0].as_py(), "ms")
    times = start + np.arange(ROWS) * np.timedelta64(int(PERIOD_S * 1000), "ms")
    columns = {name: table.column(name).to_numpy().copy() for name in table.column_names}
    columns["tboxTime"] = times.astype("datetime64[us]")
    columns["V_7"][60:80] = 4.31
    columns["T_3"][120:140] = 72.0
    pq.write_table(pa.table(columns), path)
    return path


def quick_bundle(folder: Path) -> Path:
    """The shipped bundle judging steps of 0.2 s: a window fills in 26 s."""
    source = ROOT / "bundles" / "dyad-int8"
    shutil.copytree(source, folder / source.name)
    manifest = json.loads((source / "manifest.json").read_text())
    changed = manifest | {"step_s": PERIOD_S, "period_max_s": 1.0, "stride": 8}
    (folder / source.name / "manifest.json").write_text(json.dumps(changed))
    return folder


async def test_scores_and_alarms_do_not_depend_on_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = fast_recording(tmp_path / "fast.parquet")
    monkeypatch.setenv("EMBERWATCH_BUNDLES", json.dumps([str(quick_bundle(tmp_path / "bundles"))]))
    assert open_recording(recording, None).rows == ROWS
    first = ports.choose(None).base
    bases = (first, first + 20, first + 40)
    summaries = await asyncio.gather(
        *(
            play(tmp_path / speed, recording, speed, port_base=base)
            for speed, base in zip(("1", "100", "max"), bases, strict=True)
        )
    )
    assert all(map(complete, summaries)), summaries
    real_time = summaries[0]
    assert real_time["scores"] == (ROWS - 1 - 128) // 8 + 1  # a step is complete when the next one begins
    assert {a["rule"] for a in real_time["alarms"]} >= {"cell_over_voltage", "over_temperature"}
    assert len({decisive(s) for s in summaries}) == 1
