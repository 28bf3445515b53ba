"""Our own edge services in the virtual Pi, from the wheel, and what a person and a listener see of them."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from tests.hardware.rig import cache
from tests.hardware.rig.bench import Bench
from tests.hardware.rig.machine import Init
from tests.hardware.rig.parts import BOOKWORM, Suite
from tests.hardware.rig.phone import until
from tests.mqtt import Client

BROKER: Final = 1883
SHORT, LONG = 8, 80  # looks of the alert service, each 20 ms: how long the button is pressed
BUZZER, BUTTON, GREEN, AMBER, RED = 2, 3, 4, 5, 6
DATA: Final = "/var/lib/emberwatch"
SERVICES: Final = ("sensor", "inference", "alert")
SETTINGS: Final = f"""
bus: {{node: pi, data_dir: {DATA}}}
sensor: {{source: pi, pi: /etc/emberwatch/pi.yaml, clock: ntp}}
alert:
  display_file: /run/lcd.txt
  lcd: {{bus: 1, address: 0x27, size: 20x4}}
  lamp: {{green: {GREEN}, amber: {AMBER}, red: {RED}}}
  buzzer: {{pin: {BUZZER}}}
  button: {{pin: {BUTTON}}}
  bluetooth: {{}}
"""
PERIOD_S: Final = 2.0  # a row; to read both probes takes 300 USB transfers of 2 to 3 ms here
WIRING: Final = f"""
chips: {{adc-1: {{kind: ads1115}}}}
w1: {{resolution: 9, max_age_s: {8 * PERIOD_S:g}}}
probes: {{front: {{id: 28-0000012345ab, warms_with: [back]}}, back: {{id: 28-0000012345cd}}}}
devices:
  pack-1:
    period_s: {PERIOD_S:g}
    channels:
      voltage: {{chip: adc-1, pin: 0, divider: {{top: 56k, bottom: 10k}}}}
      current: {{chip: adc-1, pin: 1, hall: {{volt_per_ampere: 40m, zero_volt: 1.5}}}}
      cell_voltages:
        - {{chip: adc-1, pin: 2, divider: {{top: 10k, bottom: 10k}}}}
        - {{chip: adc-1, pin: 3, divider: {{top: 10k, bottom: 10k}}}}
      temperatures: [{{probe: front}}, {{probe: back}}]
"""
WAIT_FOR_BROKER: Final = f"""
for n in $(seq 1000); do (: </dev/tcp/127.0.0.1/{BROKER}) 2>/dev/null && exit; sleep 0.1; done
tail /run/*.log; exit 1
"""
TELEMETRY: Final = "emberwatch/v1/pi/pack-1/telemetry/battery"
JOURNAL: Final = "emberwatch/v1/pi/pack-1/journal/telemetry.battery"
START_S: Final = 120.0  # three Pythons that start at once
OVER_VOLTAGE: Final = ("cell_over_voltage", "cell_voltage_max")  # severity high
AT_REST: Final = [1.12, 1.5, 1.85, 1.84]  # at the converter's pins [V]: 7.39 V, 0 A, 3.70 V, 3.68 V
OVERCHARGED: Final = [1.30, 1.5, 2.15, 2.14]  # 4.30 V, 4.28 V
WARM: Final = 21.5  # degC
ENVIRONMENT: Final = {
    "EMBERWATCH_CONFIG": "/etc/emberwatch/emberwatch.yaml",
    "EMBERWATCH_DATA_DIR": DATA,
    "EMBERWATCH_LOCAL_PORT": str(BROKER),
    "EMBERWATCH_LOCAL_BIND": "0.0.0.0",  # QEMU's network: only this host can reach it
    "EMBERWATCH_LOCAL_ANONYMOUS": "1",
}


@dataclass
class Row:
    """A telemetry sample; `at` by the machine's clock [s since 1970]."""

    at: float
    boot: str
    seq: int
    channels: Mapping[str, Any]
    quality: Mapping[str, str]

    def of(self, channel: str) -> str:
        """A channel's quality; the mark of a vector is that of each element."""
        return self.quality.get(channel) or self.quality.get(channel.partition("[")[0], "good")


@dataclass
class Edge:
    """The services of a bench, and a client of their broker.

    Class attributes: settings (emberwatch.yaml), port (in the guest) and user of the broker that is listened to.
    """

    settings: ClassVar[str] = SETTINGS
    port: ClassVar[int] = BROKER
    user: ClassVar[tuple[str, str] | None] = None

    bench: Bench
    client: Client | None = None
    rows: list[Row] = field(default_factory=list)
    alarms: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # (rule, channel) -> present state
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # rule, message
    status: dict[str, dict[str, Any]] = field(default_factory=dict)
    topics: dict[str, dict[str, Any]] = field(default_factory=dict)  # the latest payload of each
    pids: dict[str, int] = field(default_factory=dict)
    _read: int = 0

    def start(self, services: Sequence[str] = SERVICES) -> None:
        """Broker and services, as the units of deploy/pi start them."""
        machine = self.bench.pi.machine
        self.configure()
        self.pids["broker"] = machine.start("local", "sh /opt/emberwatch/mosquitto/start local", ENVIRONMENT)
        for name in services:
            self.pids[name] = machine.start(name, f"python3 -m services.{name}", ENVIRONMENT)
        machine.run(WAIT_FOR_BROKER)

    def configure(self) -> None:
        self.bench.pi.search_probes()
        self.bench.pi.machine.write("/etc/emberwatch/emberwatch.yaml", self.settings)
        self.bench.pi.machine.write("/etc/emberwatch/pi.yaml", WIRING)

    def restart(self, services: Sequence[str]) -> None:
        """After a power cut: boot, plug, start."""
        pi = self.bench.pi
        pi.machine.boot()
        pi.plug_board()
        self.forget()
        self.start(services)

    def forget(self) -> None:
        """What was heard so far."""
        self.rows, self.alarms, self.events, self.status, self.topics = [], {}, [], {}, {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        with Client(self.bench.pi.machine.ports[self.port], self.user) as client:
            self.client, self._read = client, 0
            client.subscribe("emberwatch/#")
            yield
        self.client = None

    def logs(self) -> str:
        return self.bench.pi.machine.run("tail -n 40 /run/*.log").out

    def memory(self) -> dict[str, float]:
        """Resident memory of each process [MB]."""
        pids = " ".join(f"{name}:{pid}" for name, pid in self.pids.items())
        said = self.bench.pi.machine.run(
            f"for p in {pids}; do echo ${{p%:*}} $(awk '/VmRSS/{{print $2}}' /proc/${{p#*:}}/status); done"
        )
        return {name: int(kb) / 1024 for name, kb in (line.split() for line in said.out.splitlines())}

    def listen(self) -> None:
        """Take in what has come since."""
        assert self.client is not None
        messages = self.client.messages
        for message in messages[self._read :]:
            self._take(message.topic, message.payload)
        self._read = len(messages)

    def _take(self, topic: str, payload: bytes | bytearray) -> None:
        if not payload:
            return
        fields = json.loads(payload)
        self.topics[topic] = fields
        _, _, _, device, kind, name = topic.split("/", 5)
        if kind == "telemetry" and device == "pack-1":
            self.rows.append(
                Row(seconds(fields["ts"]), fields["boot"], fields["seq"], fields["channels"], fields.get("quality", {}))
            )
        elif kind == "alarm":
            for key in [key for key in self.alarms if key[0] == name]:
                del self.alarms[key]
            for channel, alarm in (fields.get("alarms") or {"": fields}).items():
                self.alarms[name, channel] = alarm
        elif kind == "event":
            self.events.append((name, fields))
        elif kind == "status":
            self.status[name] = fields

    def wait(self, look: Callable[[], bool], timeout_s: float, what: str) -> float:
        """Listen until it is so, on a busy computer longer; return how long that took here [s].

        Raises:
            TimeoutError: with the latest rows and alarms.
        """
        started = time.monotonic()

        def seen() -> bool:
            self.listen()
            return look()

        try:
            until(seen, timeout_s * self.bench.pi.machine.patience, what)
        except TimeoutError as error:
            active = {key: alarm.get("text") for key, alarm in self.alarms.items() if alarm.get("active")}
            raise TimeoutError(
                f"{error}\n{self.rows[-3:]}\nactive: {active}\n{self.bench.rows}\n{self.logs()}"
            ) from None
        return time.monotonic() - started

    def wait_for_rows(self, n: int) -> None:
        """The next n rows."""
        first = len(self.rows)
        self.wait(lambda: len(self.rows) >= first + n, 10.0 + 3 * PERIOD_S * n, f"{n} rows")

    def kept(self, boot: str) -> int:
        """After a restart: the last row of an earlier process start that the journal says it has."""
        self.wait(self.healthy, START_S, "good rows")
        both = {boot, self.rows[-1].boot}  # the broker may have kept an announcement of before
        self.wait(
            lambda: both <= {r["boot"] for r in self.topics.get(JOURNAL, {"ranges": []})["ranges"]},
            60,
            "the new start announces rows of before and its own",
        )
        last = max(r["last"] for r in self.topics[JOURNAL]["ranges"] if r["boot"] == boot)
        log(f"the journal has rows up to {last}")
        return int(last)

    def seqs(self, boot: str) -> list[int]:
        """Of the telemetry that came from this process start."""
        return [row.seq for row in self.rows if row.boot == boot]

    def alarm(self, rule: str, channel: str) -> Mapping[str, Any]:
        """Its present state; of an element of a vector that is faulty as a whole, the vector's. Empty: none yet."""
        found = []
        for name in (channel, channel.partition("[")[0]):
            one = self.alarms.get((rule, name)) or self.alarms.get((rule, ""), {})
            if one and (one.get("evidence") or {}).get("channel", name) == name:
                found.append(one)
        return max(found, key=lambda one: bool(one.get("active")), default={})

    def active(self, rule: str, channel: str) -> bool:
        return bool(self.alarm(rule, channel).get("active"))

    def raised(self, rule: str, channel: str, since: float) -> float | None:
        """When that happened first since then, by the machine's clock; None = not yet."""
        names = (channel, channel.partition("[")[0])
        times = [
            seconds(event["ts"])
            for name, event in self.events
            if name == rule and event["type"] == "raised" and event["alarm"]["evidence"]["channel"] in names
        ]
        return min((at for at in times if at >= since), default=None)

    def acknowledged(self, rule: str, channel: str) -> bool:
        return bool(self.alarm(rule, channel).get("acknowledged"))

    def quality(self, channel: str) -> str:
        """Of the latest row; `good`, or why not."""
        return self.rows[-1].of(channel) if self.rows else "no row yet"

    def quiet(self) -> bool:
        """No alarm is active."""
        self.listen()
        return not any(alarm.get("active") for alarm in self.alarms.values())

    def unacknowledged(self) -> bool:
        """Some alarm waits for a person."""
        self.listen()
        return any(not alarm.get("acknowledged", True) for alarm in self.alarms.values())

    def healthy(self) -> bool:
        return bool(self.rows) and not self.rows[-1].quality


def new_bench(place: Path, port: int, *, init: Init = "plain", suite: Suite = BOOKWORM) -> Bench:
    """Not yet booted, a port of the guest's to be reached; where there can be none, the test is skipped."""
    try:
        return Bench(place, forward=[port], init=init, suite=suite)
    except cache.NoRig as reason:
        pytest.skip(str(reason))


def rest(bench: Bench) -> None:
    """The pack is at rest and warm."""
    bench.adc.ain = list(AT_REST)
    for probe in bench.probes:
        probe.celsius = WARM


@contextmanager
def overcharged(edge: Edge) -> Iterator[None]:
    """The cells are; the alarm stands. Afterwards they are not: in ten seconds the condition is over."""
    edge.wait(lambda: not edge.active(*OVER_VOLTAGE), 60, "no cell_over_voltage of before")
    edge.bench.adc.ain = list(OVERCHARGED)
    try:
        took = edge.wait(lambda: edge.active(*OVER_VOLTAGE), 60, "cell_over_voltage")
        log(f"cells of 4.3 V: cell_over_voltage after {took:.1f} s")
        yield
    finally:
        edge.bench.adc.ain = list(AT_REST)


def press(bench: Bench) -> None:
    """A short press of the button, as a finger does it."""
    bench.pi.gpio.press(BUTTON, SHORT, 10 * bench.pi.machine.patience)


def acknowledge_all(edge: Edge) -> None:
    """Press the button, an alarm each time, until nothing is left of what has been."""
    end = time.monotonic() + 90 * edge.bench.pi.machine.patience
    while time.monotonic() < end and (edge.unacknowledged() or not edge.quiet()):
        if edge.unacknowledged():
            press(edge.bench)
        time.sleep(1.0)
    edge.wait(lambda: edge.quiet() and not edge.unacknowledged(), 30, "no alarm")


def stands_still(bench: Bench) -> bool:
    """Red for three seconds."""
    return bench.pi.gpio.lit(RED) and not bench.pi.gpio.wait(RED, False, 3 * bench.pi.machine.patience)


def seconds(text: str) -> float:
    """A time in a message, since 1970."""
    return datetime.fromisoformat(text).timestamp()


def log(text: str) -> None:
    """A line of the run's record (pytest -s shows it)."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
