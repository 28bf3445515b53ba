"""What a UPS says: by a line, by NUT's own protocol."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gpiozero.pins.mock import MockFactory
from hypothesis import given
from hypothesis import strategies as st

from services.sensor.host.ups import GpioUps, Line, Nut, NutUps, Said, lgpio_factory, status


@contextmanager
def upsd(*answers: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers each connection's first line with the next of `answers`."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection, connection.makefile("rb") as lines:
                    asked.append(lines.readline())
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], asked
        thread.join(10)
    assert not thread.is_alive()


def test_nut_is_asked_in_its_protocol() -> None:
    answers = [b'VAR pi ups.status "%b"\n' % words for words in (b"OL", b"OL CHRG", b"OB DISCHRG", b"OB LB")]
    with upsd(*answers) as (port, asked):
        ups = Nut(NutUps(kind="nut", name="pi", port=port))
        assert [ups.ask() for _ in answers] == [Said(False), Said(False), Said(True), Said(True, low=True)]
        ups.close()
    assert asked == [b"GET VAR pi ups.status\n"] * 4


@pytest.mark.parametrize("answer", [b"ERR DATA-STALE\n", b"ERR UNKNOWN-UPS\n", b"", b'VAR pi ups.status ""\n'])
def test_an_answer_that_says_nothing_is_an_error(answer: bytes) -> None:
    with upsd(answer) as (port, _), pytest.raises(OSError, match="NUT: "):
        Nut(NutUps(kind="nut", name="pi", port=port)).ask()


def test_no_server_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        Nut(NutUps(kind="nut", name="pi", port=port)).ask()


@given(st.text(max_size=60) | st.text(max_size=20).map(lambda words: f'VAR pi ups.status "{words}"'))
def test_whatever_comes_is_a_status_or_an_error(line: str) -> None:
    try:
        said = status(line, "pi")
    except OSError:
        return
    assert said.lost == ("OB" in line.split('"')[1].split())


@pytest.mark.parametrize(("lost", "off", "on"), [("high", 0, 1), ("low", 1, 0)])
def test_a_line_says_lost_by_its_level_and_when_its_wire_is_off(lost: str, off: int, on: int) -> None:
    factory = MockFactory()
    line = Line(GpioUps.model_validate({"kind": "gpio", "line": 6, "lost": lost}), lambda chip: factory)
    assert line.ask() == Said(True)  # no wire: the pull
    pin = factory.pin(6)
    (pin.drive_high if off else pin.drive_low)()
    assert line.ask() == Said(False)
    (pin.drive_high if on else pin.drive_low)()
    assert line.ask() == Said(True)
    line.close()
    assert line.ask() == Said(True)  # opened again
    line.close()
    factory.close()


def test_a_computer_without_such_lines_is_an_error() -> None:
    with pytest.raises(OSError, match="GPIO: "):
        lgpio_factory(250)
