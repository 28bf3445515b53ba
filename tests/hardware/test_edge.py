"""The edge on a virtual Pi: our services from the wheel, real drivers, a person at the display and the button.

Each fault: the channel says so at the next row, is an alarm in time, and nothing else is delayed by it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest

from services.alert.outputs.bigfont import big
from tests.hardware.edge import (
    AMBER,
    AT_REST,
    GREEN,
    OVER_VOLTAGE,
    PERIOD_S,
    RED,
    SERVICES,
    WARM,
    Edge,
    acknowledge_all,
    log,
    overcharged,
    press,
    stands_still,
)
from tests.hardware.rig.bench import Bench

pytestmark = pytest.mark.rig
ALARM_S = max(5.0, 3 * PERIOD_S)  # from the first bad reading
SLACK_S = 4.0  # emulated services take seconds for what a Pi does at once; on a busy computer more
ADC = ("voltage", "current", "cell_voltages[0]", "cell_voltages[1]")
PROBES = ("temperatures[0]", "temperatures[1]")


@pytest.mark.core
def test_the_services_run_from_the_wheel_in_little_memory(
    edge: Edge, record_testsuite_property: Callable[[str, object], None]
) -> None:
    where = edge.bench.pi.machine.run("python3 -c 'import services; print(*services.__path__)'")
    assert where.out.strip() == "/opt/emberwatch/services"
    assert all(edge.status[name]["state"] == "online" for name in SERVICES)
    memory = edge.memory()
    for name, megabytes in memory.items():
        record_testsuite_property(f"rss_mb_{name}", round(megabytes, 1))
    wheel = edge.bench.pi.machine.run("cd /opt/emberwatch && head -3 emberwatch-*.dist-info/METADATA && uname -m").out
    log(f"installed from the wheel: {' '.join(wheel.split())}")
    log("resident memory: " + ", ".join(f"{name} {megabytes:.0f} MB" for name, megabytes in memory.items()))
    assert sum(memory.values()) < 250


@pytest.mark.core
def test_readings_are_what_the_board_has(edge: Edge) -> None:
    edge.wait(lambda: edge.healthy() and edge.rows[-1].channels["temperatures"] == [WARM, WARM], 30, "its readings")
    log(f"a row: {dict(edge.rows[-1].channels)}")
    channels = edge.rows[-1].channels
    assert channels["voltage"] == pytest.approx(AT_REST[0] * 6.6, abs=0.01)
    assert channels["current"] == pytest.approx(0.0, abs=0.05)
    assert channels["cell_voltages"] == pytest.approx([3.70, 3.68], abs=0.002)


def test_the_button_acknowledges_what_happened_at_the_start(edge: Edge) -> None:
    """A slow start may have raised alarms: an output that was not ready yet, a reading that was late."""
    acknowledge_all(edge)


def test_the_green_light_blinks_and_the_display_moves(edge: Edge) -> None:
    gpio = edge.bench.pi.gpio
    for lit in (True, False, True):
        assert gpio.wait(GREEN, lit, 10 * edge.bench.pi.machine.patience)
    assert not gpio.lit(AMBER)
    assert not gpio.lit(RED)
    seen: set[str] = set()

    def moves() -> bool:
        seen.add("\n".join(edge.bench.rows))
        return len(seen) > 2

    edge.bench.wait(moves, 15, "three different frames")


@pytest.mark.core
def test_an_alarm_is_on_the_display_and_the_lamp_until_the_button_is_pressed(edge: Edge) -> None:
    bench, gpio = edge.bench, edge.bench.pi.gpio
    edge.wait(edge.healthy, 60, "healthy rows before")
    with overcharged(edge):
        upper, _ = big("V HI")
        bench.wait(
            lambda: bench.display.lcd.ddram.startswith(upper.rstrip()), 20, "the display says V HI in large letters"
        )
        bench.wait(lambda: "!cell over voltage" in bench.rows[1] and "UNACK" in bench.rows[3], 20, "and what it is")
        log("\n".join(["the display:", *bench.rows]))
        assert gpio.wait(RED, True, 10 * bench.pi.machine.patience)
        assert gpio.wait(RED, False, 10 * bench.pi.machine.patience)  # it blinks: nobody has acknowledged
        assert not gpio.lit(GREEN)
        press(bench)
        edge.wait(lambda: edge.acknowledged(*OVER_VOLTAGE), 20, "acknowledged")
        bench.wait(lambda: stands_still(bench), 20, "the red light no longer blinks")
        bench.wait(lambda: bench.rows[3].endswith(" ACK"), 20, "the display says ACK")
        log("\n".join(["the button was pressed:", *bench.rows]))
    assert gpio.wait(GREEN, True, 30 * bench.pi.machine.patience)


@dataclass(frozen=True)
class Fault:
    """Args: reasons: what each channel says, `one|or another`; spares: channels that go on."""

    breaks: Callable[[Bench], None]
    mends: Callable[[Bench], None]
    reasons: dict[str, str]
    spares: tuple[str, ...]


def both(bench: Bench, name: str, value: object) -> None:
    for probe in bench.probes:
        setattr(probe, name, value)


def pin(number: int, volt: float | None) -> Callable[[Bench], None]:
    return lambda bench: bench.adc.ain.__setitem__(number, AT_REST[number] if volt is None else volt)


def at(name: str, value: object) -> Callable[[Bench], None]:
    def change(bench: Bench) -> None:
        target: object = bench
        *path, last = name.split(".")
        for part in path:
            target = getattr(target, part)
        setattr(target, last, value)

    return change


FAULTS = {  # converter and probes by turns: while one is tried, the other's alarm runs out its ten seconds
    "a wire of a pin is off": Fault(pin(0, 0.0), pin(0, None), {"voltage": "open"}, ("current", *ADC[2:], *PROBES)),
    "a probe is pulled": Fault(
        lambda b: setattr(b.probes[0], "present", False),
        lambda b: setattr(b.probes[0], "present", True),
        {PROBES[0]: "gone|no_data|stale"},
        (*ADC, PROBES[1]),
    ),
    "a pin is shorted to the supply": Fault(
        pin(2, 3.3),
        pin(2, None),
        {"cell_voltages[0]": "saturated"},
        ("voltage", "current", "cell_voltages[1]", *PROBES),
    ),
    "both probes are noisy": Fault(
        lambda b: both(b, "bad_crc", 10**6),
        lambda b: both(b, "bad_crc", 0),
        dict.fromkeys(PROBES, "crc|no_data|stale"),
        ADC,
    ),
    "the converter is stuck": Fault(
        at("adc.frozen", True), at("adc.frozen", False), dict.fromkeys(ADC, "stuck|timeout"), PROBES
    ),
    "the probes lose power": Fault(
        lambda b: both(b, "lost_conversions", 10**6),
        lambda b: both(b, "lost_conversions", 0),
        dict.fromkeys(PROBES, "power_on|stale"),
        ADC,
    ),
    "the converter is unplugged": Fault(
        lambda b: b.bus.unplug(0x48), lambda b: b.bus.plug(0x48), dict.fromkeys(ADC, "no_answer|stale"), PROBES
    ),
    "the probes are slow": Fault(
        lambda b: both(b, "slow", 1e9),
        lambda b: both(b, "slow", 1.0),
        dict.fromkeys(PROBES, "stale|power_on|timeout|no_data"),
        ADC,
    ),
    "the converter is slow": Fault(
        at("adc.endless", True), at("adc.endless", False), dict.fromkeys(ADC, "timeout|stuck|stale"), PROBES
    ),
    "the data wire is shorted": Fault(
        at("wire.shorted", True),
        at("wire.shorted", False),
        dict.fromkeys(PROBES, "no_data|gone|stale|crc"),
        ADC,
    ),
    "the converter's wire is noisy": Fault(
        lambda b: b.bus.refuse(0x48, 10**9),
        lambda b: b.bus.refuse(0x48, 0),
        dict.fromkeys(ADC, "no_answer|stale"),
        PROBES,
    ),
    "the bus is held": Fault(at("bus.held", True), at("bus.held", False), dict.fromkeys(ADC, "bus_locked|stale"), ()),
}
CORE = ("a wire of a pin is off", "the converter is unplugged")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.core] * (n in CORE)) for n in FAULTS])
def test_a_fault_is_named_alarms_in_time_and_heals(edge: Edge, name: str) -> None:
    fault, bench = FAULTS[name], edge.bench
    edge.wait(edge.healthy, 60, "healthy rows before")
    edge.wait(lambda: not any(edge.active("sensor_fault", channel) for channel in fault.reasons), 30, "no such alarm")
    first, before, slack_s = len(edge.rows), edge.rows[-1].at, SLACK_S * bench.pi.machine.patience
    fault.breaks(bench)
    try:
        edge.wait(
            lambda: all(
                edge.quality(channel).removeprefix("fault:") in reasons.split("|")
                for channel, reasons in fault.reasons.items()
            ),
            30,
            f"{name}: each channel says so",
        )
        edge.wait(
            lambda: all(edge.raised("sensor_fault", channel, before) for channel in fault.reasons),
            30,
            f"{name}: alarms",
        )
        rows = edge.rows[first:]
    finally:
        fault.mends(bench)
        mended = edge.rows[-1].at
        bench.pi.search_probes()  # a Pi's kernel looks each second which are there; ours each minute
    edge.wait(edge.healthy, 60, f"{name}: heals")
    for channel in fault.reasons:
        noticed = next(row.at for row in rows if row.of(channel) != "good")
        raised = edge.raised("sensor_fault", channel, before)
        assert raised is not None
        log(
            f"{name}: {channel} {rows[-1].of(channel)} {noticed - before:.1f} s after the last good row, alarm "
            f"{raised - noticed:.1f} s later, good {edge.rows[-1].at - mended:.1f} s after the repair"
        )
        assert raised - noticed < ALARM_S + slack_s
    for channel in fault.spares:
        bad = [row.of(channel) for row in rows if row.of(channel) != "good"]
        assert not bad, f"{channel} suffered: {bad}"
    if fault.spares:  # rows go on at their rate
        gaps = [later.at - row.at for row, later in pairwise(rows)]
        assert max(gaps, default=0) < PERIOD_S + slack_s


def test_a_converter_that_forgot_its_range_gives_no_wrong_value(edge: Edge) -> None:
    edge.wait(edge.healthy, 60, "healthy rows before")
    first = len(edge.rows)
    for _ in range(5):
        edge.bench.adc.power_on()
        edge.wait_for_rows(1)
    edge.wait(edge.healthy, 30, "healthy again")
    for row in edge.rows[first:]:
        voltage = row.channels["voltage"]
        assert voltage is None or voltage == pytest.approx(AT_REST[0] * 6.6, abs=0.01)


def test_a_probe_that_repeats_itself_while_the_one_beside_it_cools_is_stuck(edge: Edge) -> None:
    """At rest it may: the map says that these two are equally warm. (They cool: a probe that jumps up is a runaway.)"""
    front, back = edge.bench.probes
    edge.wait(edge.healthy, 60, "healthy rows before")
    edge.wait(lambda: not edge.active("sensor_fault", PROBES[0]), 30, "no such alarm")
    front.stuck = round(WARM * 16)
    edge.wait_for_rows(2)
    assert edge.healthy()  # nothing has moved yet
    before = edge.rows[-1].at
    back.celsius = WARM - 10
    try:
        edge.wait(lambda: edge.quality(PROBES[0]) == "fault:stuck", 30, "stuck")
        edge.wait(lambda: edge.raised("sensor_fault", PROBES[0], before) is not None, 30, "the alarm")
        assert edge.quality(PROBES[1]) == "good"
    finally:
        front.stuck, front.celsius = None, WARM - 10
    edge.wait(edge.healthy, 60, "it moves: it heals")


def test_a_pulled_display_is_an_alarm_and_comes_back(edge: Edge) -> None:
    bench = edge.bench
    bench.bus.unplug(0x27)
    bench.display.power_on()
    try:
        edge.wait(lambda: edge.active("output_failed", "lcd"), 40, "the display's alarm")
    finally:
        bench.bus.plug(0x27)
    bench.wait(lambda: any(row.strip() for row in bench.rows) and bench.display.lit, 30, "the display shows again")
    edge.wait(lambda: not edge.active("output_failed", "lcd"), 30, "the alarm's end")


@pytest.mark.core
def test_nothing_broke_in_the_services_meanwhile(edge: Edge) -> None:
    assert "Traceback" not in edge.logs()
    assert all(edge.status[name]["state"] == "online" for name in SERVICES)
