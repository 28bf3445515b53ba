"""Ports: a used one is named, or passed over."""

import socket

import pytest

from services.bus.errors import ConfigError
from services.up import ports
from services.up.ports import NAMES, Ports, choose, is_free
from tests.fixtures_mosquitto import free_ports


def listening(port: int) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    return server


def free_base() -> int:
    """Six free ports side by side."""
    while True:
        base = free_ports(1)[0]
        if base < 65_000 and all(is_free(base + i) for i in range(len(NAMES))):
            return base


@pytest.mark.parametrize("name", NAMES)
def test_a_used_port_is_named_with_what_it_is_for(name: str) -> None:
    base = free_base()
    with listening(Ports(base)[name]), pytest.raises(ConfigError) as raised:
        choose(base)
    assert str(raised.value) == f"--port-base: {base}: port {Ports(base)[name]} ({name}) is in use"


def test_a_free_base_is_taken_as_it_is() -> None:
    base = free_base()
    chosen = choose(base)
    assert [chosen[name] for name in NAMES] == list(range(base, base + 6))


def test_without_a_base_the_first_six_free_ports_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {18_803, 18_815}
    monkeypatch.setattr(ports, "is_free", lambda port: port not in taken)
    assert choose(None).base == 18_820


def test_when_nothing_is_free_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: False)
    with pytest.raises(ConfigError, match="no six free ports from 18800; give one"):
        choose(None)


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    port = free_ports(1)[0]
    assert is_free(port)
    with listening(port):
        assert not is_free(port)
    assert is_free(port)
