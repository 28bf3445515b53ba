"""The virtual Pi itself: what the kernel and unmodified drivers make of the board, and of its faults."""

import json
import threading
from pathlib import Path

import pytest

from tests.hardware.rig.bench import Bench

pytestmark = pytest.mark.rig
SCRIPTS = Path(__file__).parent / "scripts"
BUTTON, LED = 3, 4


def test_it_is_debian_on_a_raspberry_pi_5(bench: Bench) -> None:
    said = bench.pi.machine.run("uname -m; tr -d '\\0' </proc/device-tree/model; echo; grep ^ID= /etc/os-release")
    assert said.out.splitlines() == ["aarch64", "Raspberry Pi 5 Model B Rev 1.0", "ID=debian"]


def test_a_long_answer_is_whole(bench: Bench) -> None:
    text = "".join(f"{n}\n" for n in range(30_000))  # the line takes 32 KB at once
    assert bench.pi.machine.run("cat", input=text).out == text


def test_unmodified_drivers_reach_each_part_of_the_board(bench: Bench) -> None:
    bench.adc.ain = [0.5, 1.0, 1.5, 2.0]

    def press() -> None:
        if bench.pi.gpio.wait(LED, True, 60 * bench.pi.machine.patience):
            bench.pi.gpio.drive(BUTTON, 0)

    finger = threading.Thread(target=press)
    finger.start()
    said = json.loads(bench.pi.machine.run("python3 -", input=(SCRIPTS / "drivers.py").read_text()).out)
    finger.join()
    bench.pi.gpio.undrive(BUTTON)
    assert said["volt"] == pytest.approx([0.5, 1.0, 1.5, 2.0], abs=0.001)
    assert said["board"] == "5B"
    assert said["pressed"] is True
    assert said["probes"] == {"28-0000012345ab": 21.5, "28-0000012345cd": -3.25}
    assert [row.rstrip() for row in bench.rows[:2]] == ["virtual Pi", "row two"]
    assert not bench.pi.gpio.lit(LED)


def test_a_held_bus_is_a_kernel_error_and_ends_with_the_fault(bench: Bench) -> None:
    machine = bench.pi.machine
    bench.bus.held = True
    try:
        held = machine.run("i2cget -y 1 0x27", check=False)
    finally:
        bench.bus.held = False
    assert held.code
    assert "Read failed" in held.err
    assert machine.run("i2cget -y 1 0x27").out.startswith("0x")


def test_a_pulled_probe_leaves_the_kernels_list_and_returns(bench: Bench) -> None:
    machine, probe = bench.pi.machine, bench.probes[1]

    def listed(wanted: int) -> bool:
        return probe.name in bench.pi.search_probes(wanted)

    bench.wait(lambda: listed(2), 30, f"{probe.name} listed")
    probe.present = False
    try:
        bench.wait(lambda: not listed(1), 30, f"{probe.name} gone")
    finally:
        probe.present = True
    bench.wait(lambda: listed(2), 30, f"{probe.name} back")
    bench.wait(
        lambda: machine.run(f"cat /sys/bus/w1/devices/{probe.name}/temperature", check=False).out.strip() == "-3250",
        30,
        f"{probe.name} read",
    )


def test_what_is_printed_to_the_kernels_log_is_no_oops(bench: Bench) -> None:
    said = bench.pi.machine.run("dmesg").out
    for sign in ("Oops", "BUG:", "Call trace"):
        assert sign not in said
