"""The thread that drives hardware: newest state only, errors, hangs, the end."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from services.alert.outputs import worker
from services.alert.outputs.worker import Worker
from tests.alert.outputs.eventually import eventually


class Hardware:
    """Draws into a list; can be broken, and held up."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.broken: str | None = None
        self.go = threading.Event()
        self.go.set()
        self.again: float | None = None

    def open(self) -> None:
        self.calls.append("open")
        self._fail()

    def draw(self, state: int) -> float | None:
        self.go.wait(20)
        self._fail()
        self.calls.append(state)
        return self.again

    def close(self) -> None:
        self.calls.append("close")
        self._fail()

    def _fail(self) -> None:
        if self.broken:
            raise OSError(121, self.broken)


@pytest.fixture
def hardware() -> Hardware:
    return Hardware()


@pytest.fixture
def driver(hardware: Hardware, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker[int]]:
    monkeypatch.setattr(worker, "RETRY_S", 0.02)
    monkeypatch.setattr(worker, "HANG_S", 0.1)
    driver: Worker[int] = Worker("test", hardware)
    driver.start()
    yield driver
    hardware.go.set()
    driver.stop()


def test_of_states_that_wait_only_the_newest_is_drawn(hardware: Hardware, driver: Worker[int]) -> None:
    hardware.go.clear()
    driver.put(0)
    eventually(lambda: hardware.calls == ["open"])
    for state in range(1, 6):
        driver.put(state)
    hardware.go.set()
    eventually(lambda: 5 in hardware.calls)
    assert hardware.calls in (["open", 0, 5], ["open", 5])
    driver.stop()
    assert hardware.calls[-1] == "close"


def test_hardware_that_fails_is_tried_again_with_what_is_newest_then(hardware: Hardware, driver: Worker[int]) -> None:
    hardware.broken = "Remote I/O error"
    driver.put(1)
    eventually(lambda: driver.errors >= 3)
    assert driver.fault == "Remote I/O error"
    driver.put(2)
    hardware.broken = None
    eventually(lambda: 2 in hardware.calls)
    assert 1 not in hardware.calls
    eventually(lambda: driver.fault is None)


def test_what_was_drawn_before_a_fault_is_drawn_again_after_it(hardware: Hardware, driver: Worker[int]) -> None:
    driver.put(1)
    eventually(lambda: hardware.calls == ["open", 1])
    hardware.broken = "gone"
    driver.put(2)
    eventually(lambda: driver.fault == "gone")
    hardware.broken = None
    eventually(lambda: hardware.calls[-2:] == ["open", 2])


def test_a_call_that_hangs_delays_nobody_and_is_a_fault(hardware: Hardware, driver: Worker[int]) -> None:
    hardware.go.clear()
    driver.put(1)
    eventually(lambda: driver.fault == "it hangs")
    began = time.monotonic()
    for state in range(100):
        driver.put(state)
    assert time.monotonic() - began < 0.5
    hardware.go.set()
    eventually(lambda: driver.fault is None and 99 in hardware.calls)


def test_a_pattern_is_called_again_by_itself(hardware: Hardware, driver: Worker[int]) -> None:
    hardware.again = 0.01
    driver.put(7)
    eventually(lambda: hardware.calls.count(7) >= 3)


def test_hardware_that_hangs_does_not_keep_the_process(hardware: Hardware, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "CLOSE_S", 0.05)
    driver: Worker[int] = Worker("test", hardware)
    driver.start()
    hardware.go.clear()
    driver.put(1)
    eventually(lambda: "open" in hardware.calls)
    began = time.monotonic()
    driver.stop()
    assert time.monotonic() - began < 1.0
    hardware.go.set()
