"""The units of deploy/pi under a real systemd: sandboxed, as their own user, on the kernel's own devices.

A machine of its own, which in the end switches itself off.
"""

from collections.abc import Iterator

import pytest

from tests.hardware.edge import RED, SERVICES, START_S, TELEMETRY, WARM, log, new_bench, overcharged, rest
from tests.hardware.installed import PORT, POWER, Installed

pytestmark = pytest.mark.rig
AGAIN = """
until [ $(systemctl show -P NRestarts emberwatch-inference) = 1 ] && systemctl -q is-active emberwatch-inference
do sleep 2; done
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    with new_bench(tmp_path_factory.mktemp("installed"), PORT, init="systemd") as bench:
        rest(bench)
        node = Installed(bench)
        begin(node)
        bench.pi.switch_radio_on()
        node.start()
        with node.listening():
            took = node.wait(lambda: set(SERVICES) <= node.status.keys() and node.healthy(), START_S, "good rows")
            log(f"units at work and all channels good after {took:.1f} s")
            yield node


def begin(node: Installed) -> None:
    pi = node.bench.pi
    log(f"booted with systemd in {pi.machine.boot_s:.1f} s")
    node.prepare()
    pi.plug_board()


def test_every_unit_runs_as_its_own_user_and_stays_up(node: Installed) -> None:
    node.wait_for_rows(5)
    for name, state in node.states().items():
        assert (name, state["ActiveState"], state["User"]) == (name, "active", "emberwatch")
        assert state["NRestarts"] == "0", node.logs()


def test_sandboxed_they_reach_every_device(node: Installed) -> None:
    """Converter, probes, display, lamp, Bluetooth: no output failing, no channel faulty."""
    alert = node.wait(lambda: node.status["alert"]["counters"].get("outputs_failing") == 0, 60, "all outputs work")
    log(f"all outputs work after {alert:.1f} s more")
    assert node.rows[-1].channels["temperatures"] == [WARM, WARM]
    assert node.rows[-1].channels["cell_voltages"] == pytest.approx([3.70, 3.68], abs=0.002)
    assert "ermission" not in node.logs()
    with overcharged(node):
        node.bench.wait(lambda: node.bench.pi.gpio.lit(RED), 20, "the red light")
        node.bench.wait(lambda: "!cell over voltage" in node.bench.rows[1], 30, "the display")


def test_a_service_that_freezes_is_started_again(node: Installed) -> None:
    machine, before = node.bench.pi.machine, node.states()["inference"]
    machine.run(f"kill -STOP {before['MainPID']}")
    machine.run(AGAIN, timeout_s=150)
    after = node.states()["inference"]
    assert (after["ActiveState"], after["NRestarts"]) == ("active", "1")
    assert after["MainPID"] != before["MainPID"]


def test_when_the_ups_gives_out_the_node_switches_itself_off_and_loses_nothing(node: Installed) -> None:
    pi = node.bench.pi
    node.wait(node.healthy, 60, "healthy rows before")
    boot = node.topics[TELEMETRY]["boot"]
    pi.gpio.drive(POWER, 0)
    node.wait(lambda: node.active("power_lost", "power_lost"), 30, "the alarm")
    pi.machine.wait_until_off(120)
    node.listen()
    published = max(node.seqs(boot))
    log(f"switched itself off after row {published}")
    pi.gpio.drive(POWER, 1)
    node.forget()
    pi.machine.boot()
    begin(node)
    node.start(["local", "gateway", "sensor"])
    with node.listening():
        kept = node.kept(boot)
    assert kept >= published
    assert "malformed" not in node.logs()
