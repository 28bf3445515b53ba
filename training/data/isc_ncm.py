"""Cells with and without a resistor in parallel that stands for an internal short (swhlqu/voltage_prediction_and_..).

One charge and one discharge a run; a Run of ours is one phase of it, its `unit` the whole. Voltage and current only.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.data.errors import DataError
from training.data.runs import FAULTY, HEALTHY, Phase, Run, Times
from training.data.tables import read_columns, segments

SOURCE: Final = "isc_ncm"
FAMILIES: Final = ("cccv", "dst", "random")
PHASES: Final[tuple[Phase, ...]] = ("charge", "discharge")
SAME_CELL: Final = 700.0
"""ohm. A run of the faulty cell at this or more leaks under 6 mA: the healthy side of the same-cell contrast."""
NOT_CONNECTED: Final = "807"
"""Faulty by its name (50 ohm); its balance says that no resistor was on it. Quote figures with and without."""
OPEN_CYCLE: Final = "986"
"""Its discharge was stopped at 3.63 V: what came out cannot be held against what went in."""
RUNS: Final = {
    **dict.fromkeys(("run", "label", "n_chg", "n_dis"), "int"),
    **dict.fromkeys(("charge_c", "ohm"), "float"),
    **dict.fromkeys(("protocol", "chem", "family", "disch", "cell"), "text"),
}
COLUMNS: Final = ("run", "phase", "t_s", "volt_0p1mV", "current_mA")


def load(path: Path, families: Collection[str] = ("cccv", "dst"), partial: bool = False) -> Iterator[Run]:
    """Read the set.

    Of each Run: `group` is the protocol, `unit` the run's number (charge and discharge share it), `size` the ohm of a
    run with a resistor. In `facts`: chemistry, family, cell (BD, CS), charge_c [C], discharge (its mode), ohm (in a
    run without a resistor: of the one that it was measured beside).

    Args:
        path: folder with runs.csv and {chemistry}_{family}.parquet.
        families: cccv, dst, random (which is sampled each second or each ten, and is left out of figures).
        partial: take what is there: pass over files of which runs.csv knows and that are missing, runs of which it
            does not know, and runs of one phase or of fewer rows than it says.
    Raises:
        DataError: a file, column or run is missing, is short of rows, or out of order.
    """
    unknown = set(families) - set(FAMILIES)
    if unknown:
        raise DataError(path, "family", f"{min(unknown)}; there are {', '.join(FAMILIES)}")
    table = read_columns(path / "runs.csv", RUNS)
    about = {int(run): {name: table[name][i].item() for name in RUNS} for i, run in enumerate(table["run"])}
    kinds = sorted({(a["chem"].lower(), a["family"]) for a in about.values() if a["family"] in families})
    for chemistry, family in kinds:
        file = path / f"{chemistry}_{family}.parquet"
        if not partial or file.exists():
            yield from _load_file(file, about, partial)


def phases_there(path: Path) -> int:
    """How many charges and discharges runs.csv announces, the random family apart. Raises DataError."""
    families = read_columns(path / "runs.csv", {"family": "text"})["family"]
    return 2 * int((families != "random").sum())


def _load_file(path: Path, about: dict[int, dict[str, Any]], partial: bool) -> Iterator[Run]:
    columns = read_columns(path, dict.fromkeys(COLUMNS, "int"))
    run, phase, second = columns["run"], columns["phase"], columns["t_s"]
    seen: set[tuple[int, int]] = set()
    for first, end in segments(run, phase):
        key = (int(run[first]), int(phase[first]))
        if key[0] not in about:
            if partial:
                continue
            raise DataError(path, "run", f"{key[0]} is not in runs.csv", first)
        if key[1] not in (0, 1):
            raise DataError(path, "phase", f"{key[1]}, expected 0 or 1", first)
        if key in seen:
            raise DataError(path, "order", f"run {key[0]} comes back", first)
        seen.add(key)
        told = about[key[0]]
        expected = told[("n_chg", "n_dis")[key[1]]]
        if end - first != expected and not partial:
            raise DataError(path, "rows", f"run {key[0]} has {end - first}, runs.csv says {expected}", first)
        back = np.nonzero(np.diff(second[first:end]) < 0)[0]
        if len(back):
            raise DataError(path, "time", f"goes back in run {key[0]}", first + int(back[0]) + 1)
        faulty = told["label"] == 1
        yield Run(
            source=SOURCE,
            group=told["protocol"],
            unit=str(key[0]),
            label=FAULTY if faulty else HEALTHY,
            fault="internal_short" if faulty else "",
            size=told["ohm"] if faulty else float("nan"),
            phase=PHASES[key[1]],
            time_s=spread(second[first:end]),
            channels={
                "voltage": (columns["volt_0p1mV"][first:end] * 1e-4).astype(np.float32),
                "current": (columns["current_mA"][first:end] * 1e-3).astype(np.float32),
            },
            facts={
                "chemistry": told["chem"],
                "family": told["family"],
                "cell": told["cell"],
                "charge_c": told["charge_c"],
                "discharge": told["disch"],
                "ohm": told["ohm"],
            },
        )
    short = next(((r, p) for r in {r for r, _ in seen} for p in (0, 1) if (r, p) not in seen), None)
    if short is not None and not partial:
        raise DataError(path, "phases", f"run {short[0]} has no {PHASES[short[1]]}")


def spread(second: NDArray[np.int64]) -> Times:
    """Whole seconds to times: rows that share a second (a step of the tester ends, another begins) lie evenly in it.

    Dropping them instead costs .017 Ah over a DST discharge.
    """
    first = np.concatenate([[True], second[1:] != second[:-1]])
    starts = np.nonzero(first)[0]
    counts = np.diff(np.append(starts, len(second)))
    place = np.arange(len(second)) - np.repeat(starts, counts)
    return np.asarray(second + place / np.repeat(counts, counts), dtype=np.float64)
