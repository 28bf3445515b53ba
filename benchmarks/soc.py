"""How far the estimated state of charge is off, on real cells as an ADS1115 would read them.

    python -m benchmarks.soc --data data [--days 30]

- nasa_pcoe, cells B0005, B0006, B0007, B0018: two months each of CC-CV charges, discharges at 1 C and idle times, down
  to 70 % of the capacity. True: charge counted by the tester, from each full charge; empty is what the set calls empty
  (the end of that discharge).
- dmegc_18650, cells R1 to R4: random steps of 0 to 6 A. The set holds discharges only; in place of each charge the
  charge that closes the cycle is counted at C/2. True: as above; and once more over the capacity at C/20 (2.75 Ah), of
  which a load gets 2.5.

Readings: ADS1115 (data sheet SBAS444E) over a 10 mOhm shunt at +-0.256 V and the cell at +-6.144 V: noise 1 LSB, offset
3 LSB, gain 0.15 %, its worst figures, both of one sign; shunt 0.5 %. The estimator is told the chemistry and the name
plate's capacity, nothing else.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from benchmarks.report import write_section
from services.bus.messages import Sample, Values
from services.inference.estimators.chemistry import load_chemistry
from services.inference.estimators.counter import GAP_S
from services.inference.estimators.physics import Physics
from services.inference.estimators.reading import Facts
from training.data import dmegc_18650, nasa_pcoe
from training.data.runs import Run

IDLE_S = 60.0  # between rows that nobody recorded because nothing flowed
SETTLES_V = {"charge": 0.1, "discharge": 0.5, "mixed": 0.5}
"""What a cell's voltage may move by without current after a test; more, and a test is missing in the set: a gap."""
ASK_EACH = 5  # rows
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Row(NamedTuple):
    t: float
    current: float
    voltage: float | None
    temperature: float | None
    soc: float | None  # the true one, where it counts


@dataclass(frozen=True)
class Adc:
    """An ADS1115's reading of a cell."""

    shunt: float = 0.01  # ohm
    offset_lsb: float = 3.0
    noise_lsb: float = 1.0
    gain: float = 1.0015
    shunt_gain: float = 1.005
    extra_a: float = 0.0  # offset of the current besides [A]

    def current(self, true: float, draw: np.random.Generator) -> float:
        lsb = 0.256 / 2**15 / self.shunt
        reading = true * self.gain * self.shunt_gain + self.extra_a
        return round(reading / lsb + self.offset_lsb + draw.normal(0, self.noise_lsb)) * lsb

    def voltage(self, true: float, draw: np.random.Generator) -> float:
        lsb = 6.144 / 2**15
        return round(true * self.gain / lsb + self.offset_lsb + draw.normal(0, self.noise_lsb)) * lsb


def nasa(runs: list[Run]) -> Iterator[Row]:
    """A cell's tests in the order of time, with the idle time between them."""
    runs = sorted(runs, key=lambda run: float(run.time_s[0]))
    begin, last = float(runs[0].time_s[0]), float("-inf")
    full: float | None = None  # Ah counted when the cell was full last
    counted = after = 0.0
    for at, run in enumerate(runs):
        t = run.time_s - begin
        if t[0] <= last:
            continue  # two tests at one time: the clock of the set
        idle = at > 0 and abs(float(run.channels["voltage"][0]) - after) < SETTLES_V[runs[at - 1].phase]
        while last + 2 * IDLE_S < t[0] and idle:
            last += IDLE_S
            yield Row(last, 0.0, None, None, None)
        current, voltage = run.channels["current"].astype(float), run.channels["voltage"].astype(float)
        temperature = run.channels["temperature_max"]
        ah = counted + np.concatenate([[0.0], np.cumsum(np.diff(t) * (current[1:] + current[:-1]) / 7200)])
        truth: np.ndarray | None = None
        if run.phase == "discharge" and full is not None:
            empty = ah.min()
            if full - empty > 0.5:  # a discharge that was broken off has no empty
                truth = 1 + (ah - full) / (full - empty)
        for i in range(len(t)):
            v = voltage[i] if np.isfinite(voltage[i]) else None
            degc = float(temperature[i]) if np.isfinite(temperature[i]) else None
            yield Row(t[i], current[i], v, degc, None if truth is None else float(truth[i]))
        counted, last, after = float(ah[-1]), float(t[-1]), float(voltage[-1])
        full = counted if run.phase == "charge" and voltage[-1] > 4.15 and abs(current[-1]) < 0.1 else None


def dmegc(runs: list[Run], slow_capacity: bool = False) -> Iterator[Row]:
    """A cell's random discharges, each from full and after half an hour of rest, with a charge in between.

    Args:
        slow_capacity: the true state of charge is over the capacity at C/20, not over what that discharge gave.
    """
    slow = next(run for run in runs if run.facts["test"] == "ocv_data")
    capacity = -_ah(slow)
    t = 0.0
    for run in sorted((r for r in runs if r.facts["test"] == "rw_data"), key=lambda r: float(r.facts["rep"])):
        time_s = run.time_s - run.time_s[0]
        current, voltage = run.channels["current"].astype(float), run.channels["voltage"].astype(float)
        ah = np.concatenate([[0.0], np.cumsum(np.diff(time_s) * (current[1:] + current[:-1]) / 7200)])
        whole = capacity if slow_capacity else -float(ah[-1])
        for i in range(len(time_s)):
            degc = float(run.channels["temperature_max"][i])
            yield Row(t + time_s[i], current[i], voltage[i], degc, float(1 + ah[i] / whole))
        t += float(time_s[-1])
        yield from _idle(t + 10, 1800.0)
        t += 1810.0
        yield from _charge(t, -float(ah[-1]), capacity)
        t += -float(ah[-1]) / (capacity / 2) * 3600 + 60
        yield from _idle(t, 1800.0)
        t += 1800.0


def _charge(t: float, ah: float, capacity: float) -> Iterator[Row]:
    """What the set does not hold: `ah` at C/2 without voltage, its last rows at 4.2 V and C/20."""
    taper, rate = capacity / 20, capacity / 2
    tail = 600.0
    length = (ah - taper * tail / 3600) / rate * 3600
    for s in np.arange(0.0, length, 10.0):
        yield Row(t + s, rate, None, 25.0, None)
    yield Row(t + length, rate, None, 25.0, None)
    for s in np.arange(1.0, tail + 1.0, 10.0):
        yield Row(t + length + s, taper, 4.2, 25.0, None)


def _idle(t: float, length: float) -> Iterator[Row]:
    for s in np.arange(0.0, length, IDLE_S):
        yield Row(t + s, 0.0, None, 25.0, None)


def _ah(run: Run) -> float:
    current = run.channels["current"].astype(float)
    return float((np.diff(run.time_s) * (current[1:] + current[:-1])).sum() / 7200)


@dataclass
class Result:
    """Errors of the state of charge at the rows that count."""

    error: np.ndarray
    claimed: np.ndarray
    day: np.ndarray
    known: float  # share of rows with an estimate
    naive: np.ndarray  # of counting alone, with the offset, from a true start
    cpu_us: float


def judge(rows: list[Row], facts: Facts, adc: Adc, days: float, seed: int = 0) -> Result:
    """Read rows as `adc` does, again and again up to `days`, and compare."""
    draw, physics = np.random.default_rng(seed), Physics(facts)
    length = rows[-1].t + IDLE_S
    errors, claims, at, naive = [], [], [], []
    seq, asked, cpu = 0, 0, 0.0
    count = start = None
    last: tuple[float, float] | None = None
    for again in range(int(days * 86_400 / length) + 1):
        for row in rows:
            t = again * length + row.t
            if t > days * 86_400:
                break
            current = adc.current(row.current, draw)
            channels: dict[str, Values] = {"current": current}
            if row.voltage is not None:
                channels["voltage"] = adc.voltage(row.voltage, draw)
            if row.temperature is not None:
                channels["temperature_max"] = row.temperature
            sample = Sample.model_construct(
                boot="0" * 16, seq=seq, ts=BEGIN + timedelta(seconds=t), mono=t, time_source="ntp", layout="0" * 8,
                channels=channels, quality={}, period_s=None, sent=None,
            )  # fmt: skip
            seq += 1
            begin = time.process_time()
            physics.take(sample)
            cpu += time.process_time() - begin
            if last is not None and t - last[0] <= GAP_S:
                count = (count or 0.0) + (t - last[0]) * (current + last[1]) / 7200
            last = t, current
            if row.soc is None or not 0 <= row.soc <= 1:
                continue
            if seq % ASK_EACH:
                continue
            asked += 1
            if start is None:
                start = row.soc - (count or 0.0) / (facts.capacity_ah or 1.0)
            naive.append(start + (count or 0.0) / (facts.capacity_ah or 1.0) - row.soc)
            found = physics.estimates().get("soc")
            if found is not None:
                errors.append(found.value - row.soc)
                claims.append(found.error)
                at.append(t / 86_400)
    return Result(
        np.array(errors), np.array(claims), np.array(at), len(errors) / max(asked, 1), np.array(naive), cpu / seq * 1e6
    )


def line(name: str, result: Result, after_days: float = 1.0) -> str:
    """A table row. The first day is left out: what is told of a cell has yet to be learned."""
    kept = result.day >= after_days
    error = np.abs(result.error[kept])
    inside = (error <= 2 * result.claimed[kept]).mean()
    return (
        f"| {name} | {error.mean():.2%} | {np.percentile(error, 95):.2%} | {error.max():.2%} | {inside:.0%} "
        f"| {np.abs(result.naive).mean():.1%} |"
    )


HEAD = [
    "| cell | mean error | 95 % | largest | within 2 standard errors | counting alone |",
    "|---|---|---|---|---|---|",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with nasa_pcoe and dmegc_18650")
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--cells", nargs="*", default=["B0005", "B0006", "B0007", "B0018", "R1", "R2", "R3", "R4"])
    parser.add_argument("--repeat", nargs="*", default=["R1"], help="cells whose cycles are repeated for --days")
    given = parser.parse_args()
    by_cell: dict[str, list[Run]] = {}
    for run in (*nasa_pcoe.load(given.data / "nasa_pcoe"), *dmegc_18650.load(given.data / "dmegc_18650")):
        if run.group in given.cells:
            by_cell.setdefault(run.group, []).append(run)
    lines, cpu = [*HEAD], []
    cells = {name: _rows(name, runs) for name, runs in sorted(by_cell.items())}
    for name, (rows, facts) in track(cells.items(), "cells"):
        result = judge(rows, facts, Adc(), rows[-1].t / 86_400)
        lines.append(line(f"{name} ({'NASA' if name.startswith('B') else 'DMEGC'})", result))
        cpu.append(result.cpu_us)
        if name.startswith("R"):
            slow = list(dmegc(by_cell[name], slow_capacity=True))
            lines.append(line(f"{name}, over the capacity at C/20", judge(slow, facts, Adc(), slow[-1].t / 86_400)))
    lines += ["", "The first day is left out of both: nothing is known of a cell yet but its name plate.", "", *BOUNDED]
    for name in given.repeat:
        rows, facts = cells[name]
        for extra in (0.0, 0.02, -0.02):
            result = judge(rows, replace(facts, offset_a=0.03), Adc(extra_a=extra), given.days)
            lines.append(bounded(name, extra, result))
    lines += [
        "",
        f"One sample through all estimators: of one cell {np.mean(cpu):.0f} us of CPU, of 96 cells and 24 probes "
        f"{_cost_of_a_pack():.0f} us.",
    ]
    write_section("soc", lines)


def _rows(name: str, runs: list[Run]) -> tuple[list[Row], Facts]:
    if name.startswith("B"):
        return list(nasa(runs)), Facts(load_chemistry("NCA"), 2.0)
    return list(dmegc(runs)), Facts(load_chemistry("NMC"), 2.6)


def _cost_of_a_pack(samples: int = 5000) -> float:
    """Microseconds of CPU a sample of a vehicle's battery at 1 Hz."""
    draw, physics = np.random.default_rng(0), Physics(Facts(load_chemistry("NMC"), 150.0))
    currents = np.repeat(draw.uniform(-100, 60, samples // 5), 5)
    cells = 3.7 + 0.01 * draw.random((samples, 96)) + 0.0008 * currents[:, None]
    made = [
        Sample.model_construct(
            boot="0" * 16, seq=i, ts=BEGIN + timedelta(seconds=i), mono=float(i), time_source="ntp", layout="0" * 8,
            channels={
                "voltage": float(cells[i].sum()), "current": float(currents[i]), "cell_voltages": cells[i].tolist(),
                "temperatures": [25.0] * 24, "temperature_max": 25.0,
            },
            quality={}, period_s=None, sent=None,
        )
        for i in range(samples)
    ]  # fmt: skip
    begin = time.process_time()
    for sample in made:
        physics.take(sample)
    return (time.process_time() - begin) / samples * 1e6


BOUNDED = [
    "| days, cell | offset of the current besides [mA] | mean error, first third | second | last | largest "
    "| counting alone, last day |",
    "|---|---|---|---|---|---|---|",
]


def bounded(name: str, extra: float, result: Result) -> str:
    """A row of the second table: does the error grow?"""
    error, days = np.abs(result.error), float(result.day[-1])
    thirds = [
        error[(result.day >= max(a * days / 3, 1.0)) & (result.day <= (a + 1) * days / 3)].mean() for a in range(3)
    ]
    late = np.abs(result.naive[-len(result.naive) // int(days) :]).mean()
    return (
        f"| {days:.0f}, {name} | {extra * 1e3:+.0f} | {' | '.join(f'{t:.2%}' for t in thirds)} "
        f"| {error[result.day >= 1].max():.1%} | {late:.0%} |"
    )


if __name__ == "__main__":
    main()
