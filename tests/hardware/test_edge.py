"""The edge on a virtual Pi: our services from the wheel, real drivers, a person at the display and a phone in the air.

Each fault: the channel says so at the next row, is an alarm in time, and nothing else is delayed by it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
from bumble.att import ATT_Error, ErrorCode

from services.alert.outputs.bigfont import big
from services.alert.outputs.ble.attributes import ours
from tests.hardware.edge import AMBER, AT_REST, BUTTON, GREEN, RED, SERVICES, WARM, Edge
from tests.hardware.rig.bench import Bench
from tests.hardware.rig.phone import until

pytestmark = pytest.mark.rig
START_S = 120.0  # emulated, four Pythons at once
ALARM_S = 5.0  # max(5 s, 3 periods): from the first bad reading
GROUP_S = 30  # journal_group_s, a row a second
SERVICE = bytes(reversed(bytes.fromhex(ours(1).replace("-", ""))))  # as it is advertised
ALARM, ACKNOWLEDGE = ours(3), ours(5)
SLACK_S = 4.0  # of a busy computer that emulates another
ADC = ("voltage", "current", "cell_voltages[0]", "cell_voltages[1]")
PROBES = ("temperatures[0]", "temperatures[1]")


def test_the_services_run_from_the_wheel_in_little_memory(
    edge: Edge, record_testsuite_property: Callable[[str, object], None]
) -> None:
    where = edge.bench.pi.machine.run("python3 -c 'import services.bus.settings as s; print(s.ROOT)'")
    assert where.out.strip() == "/opt/emberwatch"
    assert all(edge.status[name]["state"] == "online" for name in SERVICES)
    memory = edge.memory()
    for name, megabytes in memory.items():
        record_testsuite_property(f"rss_mb_{name}", round(megabytes, 1))
    print({name: f"{megabytes:.0f} MB" for name, megabytes in memory.items()})
    assert sum(memory.values()) < 250


def test_readings_are_what_the_board_has(edge: Edge) -> None:
    edge.wait(lambda: edge.healthy() and edge.rows[-1].channels["temperatures"] == [WARM, WARM], 30, "its readings")
    channels = edge.rows[-1].channels
    assert channels["voltage"] == pytest.approx(AT_REST[0] * 6.6, abs=0.01)
    assert channels["current"] == pytest.approx(0.0, abs=0.05)
    assert channels["cell_voltages"] == pytest.approx([3.70, 3.68], abs=0.002)


def test_the_button_acknowledges_what_happened_at_the_start(edge: Edge) -> None:
    """A slow start may have raised alarms: an output that was not ready yet, a reading that was late."""

    def waiting() -> bool:
        edge.listen()
        return any(not alarm["acknowledged"] for alarm in edge.alarms.values())

    for _ in range(12):
        if not waiting():
            break
        press(edge.bench)
        time.sleep(1.0)
    edge.wait(lambda: not waiting() and not any(alarm["active"] for alarm in edge.alarms.values()), 30, "no alarm")


def test_the_green_light_blinks_and_the_display_moves(edge: Edge) -> None:
    gpio = edge.bench.pi.gpio
    for level in (1, 0, 1):
        assert gpio.wait(GREEN, level, 10)
    assert (gpio.level(AMBER), gpio.level(RED)) == (0, 0)
    seen: set[str] = set()

    def moves() -> bool:
        seen.add("\n".join(edge.bench.rows))
        return len(seen) > 2

    until(moves, 15, "three different frames")


def test_a_phone_reads_is_notified_and_acknowledges_what_the_display_shows(edge: Edge) -> None:
    bench, gpio = edge.bench, edge.bench.pi.gpio
    edge.wait(edge.healthy, 60, "healthy rows before")
    phone = bench.pi.air.phone("C0:C1:C2:C3:C4:C5")
    phone.scan(lambda data: SERVICE in data, 60)
    phone.connect()
    assert int.from_bytes(phone.read(0x2A6E), "little", signed=True) == round(WARM * 100)
    phone.subscribe(ALARM)

    bench.probes[0].celsius = 70.0
    edge.wait(lambda: edge.active("over_temperature", "temperature_max"), 30, "the alarm")
    record = phone.notified(ALARM, lambda value: b"over_temperature" in value, 30)
    upper, _ = big("HOT")
    until(lambda: bench.display.lcd.ddram.startswith(upper.rstrip()), 20, "the display says HOT in large letters")
    until(lambda: "!over temperature" in bench.rows[1] and "UNACK" in bench.rows[3], 20, "and what it is")
    assert gpio.wait(RED, 1, 10)
    assert gpio.wait(RED, 0, 10)  # it blinks: nobody has acknowledged
    assert gpio.level(GREEN) == 0

    with pytest.raises(ATT_Error) as refused:
        phone.write(ACKNOWLEDGE, record[:20])
    assert refused.value.error_code in (ErrorCode.INSUFFICIENT_AUTHENTICATION, ErrorCode.INSUFFICIENT_ENCRYPTION)

    phone.agrees = lambda number: person(bench, number)
    phone.pair()
    assert len(phone.numbers) == 1
    phone.write(ACKNOWLEDGE, record[:20])
    edge.wait(lambda: edge.alarms["over_temperature", ""]["acknowledged"], 15, "acknowledged")
    answers = [event for _, event in edge.events if event["type"] == "acknowledged"]
    assert answers[-1]["by"].endswith("@bluetooth")
    until(lambda: stands_still(bench), 20, "the red light no longer blinks")
    until(lambda: "!over temperature" in bench.rows[1] and bench.rows[3].endswith(" ACK"), 30, "the display says ACK")

    phone.disconnect()
    until(lambda: not phone.connected, 10, "disconnected")
    phone.scan(lambda data: SERVICE in data, 60)
    phone.connect(encrypt=True)  # bonded: no pairing again
    assert len(phone.numbers) == 1
    bench.probes[0].celsius = WARM
    edge.wait(lambda: not edge.active("over_temperature", "temperature_max"), 60, "the alarm's end")
    assert gpio.wait(GREEN, 1, 30)
    phone.disconnect()


def person(bench: Bench, number: int) -> bool:
    """Compares the phone's number with the display's and presses the button."""
    until(lambda: any(f"{number:06d}" in row for row in bench.rows), 20, f"{number:06d} on the display")
    time.sleep(0.6)  # nobody answers faster
    press(bench)
    return True


def press(bench: Bench) -> None:
    """A short press of the button, as a finger does it."""
    bench.pi.gpio.drive(BUTTON, 0)
    time.sleep(0.3)
    bench.pi.gpio.undrive(BUTTON)


def stands_still(bench: Bench) -> bool:
    """Red for three seconds."""
    return bench.pi.gpio.level(RED) == 1 and not bench.pi.gpio.wait(RED, 0, 3)


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


FAULTS = {
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
        dict.fromkeys(PROBES, "crc|stale"),
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
        lambda b: both(b, "slow", 20.0),
        lambda b: both(b, "slow", 1.0),
        dict.fromkeys(PROBES, "stale|power_on|timeout|no_data"),
        ADC,
    ),
    "the bus is held": Fault(at("bus.held", True), at("bus.held", False), dict.fromkeys(ADC, "bus_locked|stale"), ()),
    "the data wire is shorted": Fault(
        at("wire.shorted", True),
        at("wire.shorted", False),
        dict.fromkeys(PROBES, "no_data|gone|stale|crc"),
        ADC,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_alarms_in_time_and_heals(edge: Edge, name: str) -> None:
    fault, bench = FAULTS[name], edge.bench
    edge.wait(edge.healthy, 60, "healthy rows before")
    new = [channel for channel in fault.reasons if not edge.active("sensor_fault", channel)]
    first = len(edge.rows)
    fault.breaks(bench)
    try:
        noticed = edge.wait(
            lambda: all(
                edge.quality(channel).removeprefix("fault:") in reasons.split("|")
                for channel, reasons in fault.reasons.items()
            ),
            30,
            f"{name}: each channel says so",
        )
        alarmed = edge.wait(
            lambda: all(edge.active("sensor_fault", channel) for channel in fault.reasons), 30, f"{name}: alarms"
        )
        rows = edge.rows[first:]
    finally:
        fault.mends(bench)
    healed = edge.wait(edge.healthy, 60, f"{name}: heals")
    print(
        f"{name}: noticed after {noticed:.1f} s, alarm {alarmed:.1f} s later ({len(new)} new), healed in {healed:.1f} s"
    )
    assert alarmed < ALARM_S + SLACK_S
    for channel in fault.spares:
        bad = [row.quality[channel] for row in rows if channel in row.quality]
        assert not bad, f"{channel} suffered: {bad}"
    if fault.spares:  # rows go on at their rate
        gaps = [later.at - row.at for row, later in pairwise(rows)]
        assert max(gaps, default=0) < 1.0 + SLACK_S


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


def test_a_pulled_display_is_an_alarm_and_comes_back(edge: Edge) -> None:
    bench = edge.bench
    bench.bus.unplug(0x27)
    bench.display.power_on()
    try:
        edge.wait(lambda: edge.active("output_failed", "lcd"), 40, "the display's alarm")
    finally:
        bench.bus.plug(0x27)
    edge.wait(lambda: any(row.strip() for row in bench.rows) and bench.display.lit, 30, "the display shows again")


def test_nothing_broke_in_the_services_meanwhile(edge: Edge) -> None:
    assert "Traceback" not in edge.logs()
    assert all(edge.status[name]["state"] == "online" for name in SERVICES)


def test_a_power_cut_in_mid_write_loses_at_most_one_group(edge: Edge) -> None:
    """The last test: afterwards the machine has begun anew. Readings before the cut are announced by the new start."""
    bench = edge.bench
    edge.wait(edge.healthy, 60, "healthy rows before")
    journal = "emberwatch/v1/pi/pack-1/journal/telemetry.battery"
    boot = edge.topics["emberwatch/v1/pi/pack-1/telemetry/battery"]["boot"]
    edge.wait(lambda: journal in edge.topics, 60, "an announcement")
    published = max(edge.seqs(boot))
    bench.pi.cut_power()
    edge.restart()
    with edge.listening():
        edge.wait(lambda: set(SERVICES) <= edge.status.keys() and edge.healthy(), START_S, "services and good rows")
        edge.wait(lambda: any(r["boot"] == boot for r in edge.topics.get(journal, {"ranges": []})["ranges"]), 60, "it")
    kept = max(r["last"] for r in edge.topics[journal]["ranges"] if r["boot"] == boot)
    assert published - kept <= GROUP_S + SLACK_S
    assert "malformed" not in edge.logs()
