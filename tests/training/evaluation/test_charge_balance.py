"""Leak by charge balance: what is counted, what the end points explain, and that no cycle is judged by its own fit."""

import json
from pathlib import Path

import numpy as np
import pytest

from services.bus.errors import ConfigError
from training.evaluation.charge_balance import (
    TERMS,
    Calibration,
    Cycle,
    Phase,
    calibrate,
    fit,
    fit_if_it_helps,
    kind,
    less_own,
    read_cycle,
    spread_times,
)

ROWS = np.arange(0.0, 3601.0)


def charge(current: float = 2.0, end_v: float = 4.2, time_s: np.ndarray = ROWS) -> Phase:
    return Phase(time_s, np.full(len(time_s), current), np.linspace(3.4, end_v, len(time_s)))


def discharge(current: float = -1.9, end_v: float = 2.75, time_s: np.ndarray = ROWS) -> Phase:
    return Phase(time_s, np.full(len(time_s), current), np.linspace(4.1, end_v, len(time_s)))


def test_balance_is_what_went_in_less_what_came_out() -> None:
    cycle = read_cycle(charge(), discharge())
    assert cycle.open == ""
    assert cycle.ah == pytest.approx(0.1)
    assert cycle.hours == pytest.approx(2.0)
    terms = dict(zip(TERMS, cycle.terms, strict=True))
    assert terms["charge_v_10s"] == pytest.approx(3.4 + 0.8 * 10 / 3600)
    assert terms["charge_current"] == pytest.approx(2.0)
    assert terms["discharge_last_a"] == pytest.approx(-1.9)
    assert terms["discharge_v"] == pytest.approx(2.75 + 1.35 * 30 / 3600, abs=1e-6)


def test_rows_that_share_a_second_are_spread_over_it() -> None:
    assert spread_times(np.array([0.0, 1, 1, 2, 2, 2, 2, 4])).tolist() == [0, 1, 1.5, 2, 2.25, 2.5, 2.75, 4]
    steps = np.arange(0.0, 3600.0, 0.25)  # four rows a second, by a clock of whole seconds
    pulses = np.where(np.arange(len(steps)) % 4 < 2, -4.0, 0.0)
    fast = Phase(np.floor(steps), pulses, np.linspace(4.1, 2.75, len(steps)))
    assert read_cycle(charge(), fast).ah == pytest.approx(2.0 - 2.0, abs=0.002)


def test_missing_readings_are_bridged_and_a_hole_opens_the_cycle() -> None:
    current = np.full(len(ROWS), 2.0)
    current[100:130] = np.nan
    assert read_cycle(Phase(ROWS, current, charge().voltage), discharge()).ah == pytest.approx(0.1)
    current[100:190] = np.nan
    assert "hole of 91 s" in read_cycle(Phase(ROWS, current, charge().voltage), discharge()).open


@pytest.mark.parametrize(
    ("cycle", "why"),
    [
        (read_cycle(charge(end_v=4.0), discharge()), "the charge ended at 4.00 V"),
        (read_cycle(charge(), discharge(end_v=3.63)), "the discharge ended at 3.63 V"),
        (read_cycle(charge(), discharge(time_s=ROWS[:100])), "the discharge is shorter"),
    ],
)
def test_open_cycle_says_why_and_reads_no_leak(cycle: Cycle, why: str) -> None:
    assert why in cycle.open
    assert np.isnan(Calibration({}).leak(cycle, "NCM811", "cccv", "P"))


def a_study(leak_a: float, draw: np.random.Generator) -> tuple[list[Cycle], list[str]]:
    """Cycles of 8 protocols whose charge follows a deeper discharge than the recorded one."""
    cycles, protocols = [], []
    for p in range(8):
        for _ in range(12):
            start_v, rate = draw.uniform(3.3, 3.6), 1.0 + 0.2 * p
            terms = (start_v, start_v + 0.05, rate, 0.58, -rate, 2.85 + draw.normal(0, 0.01))
            hours = 4 / rate
            ah = 0.5 * (3.5 - start_v) + 0.02 * rate + leak_a * hours + draw.normal(0, 0.002)
            cycles.append(Cycle(ah, hours, terms))
            protocols.append(f"P{p}")
    return cycles, protocols


def test_end_points_explain_what_does_not_close_and_leave_the_leak() -> None:
    draw = np.random.default_rng(1)
    healthy, protocols = a_study(0.0, draw)
    leaking, _ = a_study(0.02, draw)
    calibration = calibrate(healthy, [kind("NCM811", "dst")] * len(healthy), protocols)
    raw = np.array([c.ah / c.hours for c in leaking])
    found = np.array([calibration.leak(c, "NCM811", "dst", p) for c, p in zip(leaking, protocols, strict=True)])
    assert np.std(raw) > 0.01
    assert np.std(found) < 0.003
    assert np.median(found) == pytest.approx(0.02, abs=0.002)
    unknown = [calibration.leak(c, "NCM523", "dst", p) for c, p in zip(leaking, protocols, strict=True)]
    assert unknown == raw.tolist()  # no fit of that kind: the balance as it is


def test_a_protocol_is_judged_by_a_fit_without_it() -> None:
    healthy, protocols = a_study(0.0, np.random.default_rng(2))
    spoiled = [Cycle(c.ah + 1.0, c.hours, c.terms) if p == "P3" else c for c, p in zip(healthy, protocols, strict=True)]
    names = [kind("NCM811", "dst")] * len(healthy)
    clean, other = calibrate(healthy, names, protocols), calibrate(spoiled, names, protocols)
    assert other.fits["NCM811 dst"].of("P3") == clean.fits["NCM811 dst"].of("P3")
    assert other.fits["NCM811 dst"].of("P4") != clean.fits["NCM811 dst"].of("P4")


def test_fit_stays_off_where_it_predicts_other_protocols_no_better_than_a_constant() -> None:
    draw = np.random.default_rng(3)
    terms, protocols = draw.normal(3.4, 0.1, (60, len(TERMS))), np.repeat([f"P{p}" for p in range(6)], 10)
    correction, r2 = fit_if_it_helps(terms, draw.normal(0, 0.01, 60), protocols)
    assert correction is None
    assert r2 <= 0
    correction, r2 = fit_if_it_helps(terms, 0.3 * terms[:, 0] + draw.normal(0, 0.001, 60), protocols)
    assert correction is not None
    assert r2 > 0.9
    assert fit_if_it_helps(terms[:30], terms[:30, 0], protocols[:30])[0] is None  # three protocols


def test_outliers_do_not_move_the_fit_and_its_range_is_not_left() -> None:
    draw = np.random.default_rng(4)
    terms = draw.normal(3.4, 0.1, (80, len(TERMS)))
    ah = 0.3 * terms[:, 0] + draw.normal(0, 0.001, 80)
    ah[:6] += 1.0  # cycles that were broken off
    correction = fit(terms, ah)
    at = np.full((1, len(TERMS)), 3.4)
    assert correction.expected(at)[0] == pytest.approx(0.3 * 3.4, abs=0.003)
    far, border = at.copy(), at.copy()
    far[0, 0], border[0, 0] = 9.0, terms[:, 0].max()
    assert correction.expected(far) == correction.expected(border)


def test_own_healthy_cycles_give_the_cells_bias() -> None:
    leaks = np.array([0.031, 0.030, 0.029, 0.051, 0.010, np.nan])
    cells, protocols = ["A"] * 4 + ["B", "A"], ["P"] * 6
    healthy = [True, True, True, False, True, True]
    found = less_own(leaks, cells, protocols, healthy)
    assert found[3] == pytest.approx(0.021)
    assert found[0] == pytest.approx(0.031 - 0.0295)  # its own reading is no reference
    assert found[4] == 0.010  # B has no other
    assert np.isnan(found[5])


def test_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    healthy, protocols = a_study(0.0, np.random.default_rng(5))
    made = calibrate(healthy, [kind("NCM811", "dst")] * len(healthy), protocols)
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(made.to_dict()))
    read = Calibration.load(path)
    assert read.to_dict() == made.to_dict()
    cycle = Cycle(0.1, 4.0, (3.5, 3.55, 1.0, 0.58, -1.0, 2.85))
    for protocol in ("P0", "another"):
        expected = made.leak(cycle, "NCM811", "dst", protocol)
        assert read.leak(cycle, "NCM811", "dst", protocol) == pytest.approx(expected, abs=1e-6)
    fields = made.to_dict()
    wrong: list[dict[str, object]] = [{"terms": ["volts"]}, {"fits": {"NCM811 dst": {"all": {"intercept": 1}}}}]
    wrong.append({"fits": []})
    for broken in wrong:
        path.write_text(json.dumps(fields | broken))
        with pytest.raises(ConfigError, match=r"calibration\.json"):
            Calibration.load(path)
    with pytest.raises(ConfigError, match="No such file"):
        Calibration.load(tmp_path / "none.json")


def test_committed_calibration_corrects_both_kinds_of_ncm811() -> None:
    calibration = Calibration.load()
    for name in ("NCM811 cccv", "NCM811 dst"):
        assert calibration.fits[name].everything is not None
        assert len(calibration.fits[name].without) >= 12
