"""Leak current of a cell by charge balance over one recorded cycle: a charge, and the discharge that follows it.

    leak [A] = (Ah in - Ah out - what the cycle's end points explain) / hours

What goes in and does not come out has leaked, if the cycle ends where it began. A tester's cycle need not: a charge may
follow a deeper discharge than the recorded one. How far it is from closing is read off the states at its two ends, by a
linear fit to healthy cycles of *other* protocols (no fault data); where such a fit predicts healthy cycles of protocols
that it has not seen no better than a constant, it stays off and the balance is taken as it is.

`Calibration` holds the fits and is committed (charge_balance.json, made by the study `charge_balance`). For a protocol
that it was fitted on it holds another fit without it, so no cycle is ever judged by a fit that has seen its protocol.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.bus.errors import ConfigError

Array = NDArray[np.float64]

COMMITTED: Final = Path(__file__).with_suffix(".json")
TERMS: Final = ("charge_v_10s", "charge_v_60s", "charge_current", "charge_last_a", "discharge_last_a", "discharge_v")
"""V after 10 s and 60 s of the charge, its mean current from 10 to 60 s, last current of each phase, mean V of the last
60 s of the discharge."""
FULL_V: Final = 4.1  # NCM: charged to 4.2 V; a charge that was broken off is no end point
EMPTY_V: Final = 3.3  # NCM under load: below it a few per cent are left
HOLE_S: Final = 60.0  # a longer hole in the recording may hide charge
SHORTEST_S: Final = 120.0
PROTOCOLS_MIN: Final = 4  # of a fit: with fewer the left-out one has nothing to be judged by
HUBER: Final = 1.345  # of the residuals' standard deviation: 95 % efficient for normal ones (Huber 1981)
RIDGE: Final = 1e-3  # of the standardised terms: keeps nearly collinear ones (V after 10 s and 60 s) small


@dataclass(frozen=True, slots=True)
class Phase:
    """A recorded charge or discharge.

    Args:
        time_s: (n,) not decreasing; several rows may share one second.
        current: (n,) A, positive = charging; NaN = missing.
        voltage: (n,) V.
    """

    time_s: Array
    current: Array
    voltage: Array


@dataclass(frozen=True, slots=True)
class Cycle:
    """A cycle's balance.

    Args:
        ah: in less out.
        hours: of both phases.
        terms: the states at its ends, as TERMS.
        open: why it says nothing about a leak; "" = it is closed.
    """

    ah: float
    hours: float
    terms: tuple[float, ...]
    open: str = ""


def spread_times(time_s: Array) -> Array:
    """Put rows that share one second evenly over that second: a clock of whole seconds, sampled faster.

    Dropping them instead costs .017 Ah of a DST discharge of 2.5 Ah.
    """
    _, first, count = np.unique(time_s, return_index=True, return_counts=True)
    within = np.arange(len(time_s)) - np.repeat(first, count)
    return np.asarray(time_s + within / np.repeat(count, count), dtype=np.float64)


def read_cycle(charge: Phase, discharge: Phase) -> Cycle:
    """Count a cycle's charge (trapezoid) and read the states at its ends."""
    phases = []
    for name, phase in (("charge", charge), ("discharge", discharge)):
        known = np.isfinite(phase.current) & np.isfinite(phase.voltage)
        t, i, v = spread_times(phase.time_s[known]), phase.current[known], phase.voltage[known]
        if len(t) < 2 or t[-1] - t[0] < SHORTEST_S:
            return Cycle(0.0, 0.0, (0.0,) * len(TERMS), f"the {name} is shorter than {SHORTEST_S:g} s")
        phases.append((t - t[0], i.astype(np.float64), v.astype(np.float64)))
    (tc, ic, vc), (td, id_, vd) = phases
    ah = _ah(tc, ic) + _ah(td, id_)
    early, late = np.arange(10.0, 61.0), td[-1] - np.arange(0.0, 61.0)
    terms = (
        float(np.interp(10.0, tc, vc)),
        float(np.interp(60.0, tc, vc)),
        float(np.interp(early, tc, ic).mean()),
        float(ic[-1]),
        float(id_[-1]),
        float(np.interp(late, td, vd).mean()),
    )
    hole = max(float(np.diff(tc).max()), float(np.diff(td).max()))
    why = ""
    if hole > HOLE_S:
        why = f"a hole of {hole:.0f} s"
    elif vc[-1] < FULL_V:
        why = f"the charge ended at {vc[-1]:.2f} V"
    elif vd.min() > EMPTY_V:
        why = f"the discharge ended at {vd[-1]:.2f} V"
    return Cycle(ah, float(tc[-1] + td[-1]) / 3600, terms, why)


def _ah(time_s: Array, current: Array) -> float:
    return float((np.diff(time_s) * (current[1:] + current[:-1])).sum()) / 7200


@dataclass(frozen=True, slots=True)
class Correction:
    """Ah that a healthy cycle fails to close by, as a linear function of the states at its ends.

    Outside of the range that it was fitted on (`low` .. `high`) a state counts as at its border.
    """

    intercept: float
    slopes: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def expected(self, terms: Array) -> Array:
        """(n, terms) -> (n,) Ah."""
        return np.asarray(np.clip(terms, self.low, self.high) @ np.array(self.slopes) + self.intercept)


def fit(terms: Array, ah: Array) -> Correction:
    """Huber regression (iteratively reweighted least squares) of `ah` (n,) on `terms` (n, k) of healthy cycles."""
    centre, scale = np.median(terms, axis=0), terms.std(axis=0) + 1e-9
    design = np.column_stack([(terms - centre) / scale, np.ones(len(ah))])
    penalty = np.diag([RIDGE * len(ah)] * terms.shape[1] + [0.0])
    weights: Array = np.ones(len(ah))
    found: Array = np.zeros(design.shape[1])
    for _ in range(50):
        found[:] = np.linalg.solve(design.T @ (design * weights[:, None]) + penalty, design.T @ (weights * ah))
        residual = np.abs(ah - design @ found)
        limit = HUBER * 1.4826 * float(np.median(residual)) + 1e-9
        weights = limit / np.maximum(residual, limit)
    slopes = found[:-1] / scale
    intercept = float(found[-1] - slopes @ centre)
    low, high = terms.min(axis=0), terms.max(axis=0)
    return Correction(intercept, tuple(slopes.tolist()), tuple(low.tolist()), tuple(high.tolist()))


def fit_if_it_helps(terms: Array, ah: Array, protocols: NDArray[np.str_]) -> tuple[Correction | None, float]:
    """A fit to healthy cycles, and its R2 on protocols left out one by one; None where that is not above 0."""
    names = sorted(set(protocols.tolist()))
    if len(names) < PROTOCOLS_MIN:
        return None, float("nan")
    missed, spread = 0.0, 0.0
    for name in names:
        out = protocols == name
        missed += float(((ah[out] - fit(terms[~out], ah[~out]).expected(terms[out])) ** 2).sum())
        spread += float(((ah[out] - np.median(ah[~out])) ** 2).sum())
    r2 = 1 - missed / max(spread, 1e-12)
    return (fit(terms, ah) if r2 > 0 else None), r2


@dataclass(frozen=True, slots=True)
class Fits:
    """Of one chemistry and kind of protocol: the fit to all healthy cycles, and those without one of the protocols."""

    everything: Correction | None
    without: Mapping[str, Correction | None]

    def of(self, protocol: str) -> Correction | None:
        """The fit that has not seen the protocol."""
        return self.without.get(protocol, self.everything)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Corrections by chemistry and kind of protocol."""

    fits: Mapping[str, Fits]

    def leak(self, cycle: Cycle, chemistry: str, family: str, protocol: str) -> float:
        """Leak current [A]; NaN of a cycle that is not closed.

        Args:
            chemistry, family: `NCM811`, `cccv`. Of kinds without a fit the balance is taken as it is.
            protocol: one that the calibration was fitted on is judged by a fit without it.
        """
        if cycle.open:
            return float("nan")
        fits = self.fits.get(kind(chemistry, family))
        correction = fits.of(protocol) if fits is not None else None
        expected = 0.0 if correction is None else float(correction.expected(np.array([cycle.terms]))[0])
        return (cycle.ah - expected) / cycle.hours

    def to_dict(self) -> dict[str, Any]:
        def fields(c: Correction | None) -> dict[str, Any] | None:
            if c is None:
                return None
            parts = {"slopes": c.slopes, "low": c.low, "high": c.high}
            return {"intercept": _digits(c.intercept)} | {name: [_digits(x) for x in p] for name, p in parts.items()}

        fits = {
            name: {"all": fields(f.everything), "without": {p: fields(c) for p, c in f.without.items()}}
            for name, f in self.fits.items()
        }
        return {"terms": TERMS, "fits": fits}

    @classmethod
    def load(cls, path: Path = COMMITTED) -> "Calibration":
        """Read a calibration. Raises ConfigError naming the file and the key."""
        try:
            content = json.loads(path.read_bytes())
            if tuple(content["terms"]) != TERMS:
                raise ConfigError(str(path), "terms", f"{content['terms']}, this version reads {TERMS}")
            return cls({str(n): _fits(f) for n, f in content["fits"].items()})
        except OSError as error:
            raise ConfigError(str(path), "file", error.strerror or str(error)) from None
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(str(path), "file", f"no calibration of charge balance: {error!r}") from None


def _digits(value: float) -> float:
    return float(f"{value:.7g}")


def _fits(fields: dict[str, Any]) -> Fits:
    def correction(c: dict[str, Any] | None) -> Correction | None:
        if c is None:
            return None
        parts = [tuple(float(x) for x in c[name]) for name in ("slopes", "low", "high")]
        if any(len(part) != len(TERMS) for part in parts):
            raise ValueError(f"expected {len(TERMS)} slopes and as many bounds")
        return Correction(float(c["intercept"]), *parts)

    return Fits(correction(fields["all"]), {p: correction(c) for p, c in fields["without"].items()})


def kind(chemistry: str, family: str) -> str:
    """Cycles that one fit serves: `NCM811 cccv`."""
    return f"{chemistry} {family}"


def calibrate(cycles: Sequence[Cycle], kinds: Sequence[str], protocols: Sequence[str]) -> Calibration:
    """Fit to closed cycles of healthy cells.

    Args:
        kinds: of each cycle, as `kind` gives it; cycles of one kind are fitted together.
    """
    known = [i for i, c in enumerate(cycles) if not c.open]
    fits = {}
    for name in sorted({kinds[i] for i in known}):
        rows = [i for i in known if kinds[i] == name]
        terms = np.array([cycles[i].terms for i in rows])
        ah, of = np.array([cycles[i].ah for i in rows]), np.array([protocols[i] for i in rows])
        without = {p: fit_if_it_helps(terms[of != p], ah[of != p], of[of != p])[0] for p in sorted(set(of.tolist()))}
        fits[name] = Fits(fit_if_it_helps(terms, ah, of)[0], without)
    return Calibration(fits)


def less_own(
    leaks: Array, cells: Sequence[str], protocols: Sequence[str], healthy: Sequence[bool], others: int = 2
) -> Array:
    """Leaks less the median reading of the same cell's *other* healthy cycles of that protocol (its bias).

    A cell with fewer than `others` of them keeps its reading as it is.
    """
    own: dict[tuple[str, str], list[int]] = {}
    for i, leak in enumerate(leaks):
        if healthy[i] and np.isfinite(leak):
            own.setdefault((cells[i], protocols[i]), []).append(i)
    corrected = leaks.copy()
    for i in range(len(leaks)):
        rest = [j for j in own.get((cells[i], protocols[i]), []) if j != i]
        if len(rest) >= others:
            corrected[i] -= np.median(leaks[rest])
    return corrected
