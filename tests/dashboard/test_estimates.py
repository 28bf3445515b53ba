"""Estimates as tiles: units that people read, and a standard error beside each."""

from datetime import UTC, datetime

from services.bus.messages import Estimate
from services.dashboard.estimates import estimate_tiles
from services.dashboard.staleness import Freshness

LIVE = Freshness("live", "live", 0.24)
STALE = Freshness("stale", "no sample for 42 s", 42.0)


def estimate(**values: tuple[float, float | None]) -> Estimate:
    fields = {"boot": "0" * 16, "seq": 0, "ts": datetime(2026, 1, 1, tzinfo=UTC), "mono": 60.0}
    fields |= {"of": {"boot": "1" * 16, "seq": 60}}
    return Estimate.model_validate(fields | {"values": {n: {"value": v, "error": e} for n, (v, e) in values.items()}})


def test_each_quantity_has_its_unit_and_as_many_digits_as_its_error_allows() -> None:
    found = estimate_tiles(
        estimate(
            leak_current=(0.0193, 0.0011), soc=(0.6123, 0.021), capacity=(2.4512, 0.053), temperature_rate=(0.002, 1e-4)
        ),
        LIVE,
    )
    assert [(t.label, t.value, t.unit, t.note) for t in found] == [
        ("Counted charge", "61.2", "%", "± 2.1"),
        ("Capacity", "2.451", "Ah", "± 0.053"),
        ("Leak current", "19.3", "mA", "± 1.1"),
        ("Heating", "0.1200", "K/min", "± 0.0060"),
    ]
    assert not any(t.stale for t in found)


def test_what_the_page_does_not_know_is_shown_under_its_own_name() -> None:
    (tile,) = estimate_tiles(estimate(self_heating=(1.5, None)), STALE)
    assert (tile.label, tile.value, tile.unit, tile.note, tile.stale) == ("Self heating", "1.500", "", "", True)


def test_large_currents_stay_in_ampere_and_nothing_is_shown_of_nothing() -> None:
    (tile,) = estimate_tiles(estimate(leak_current=(1.5, 0.02)), LIVE)
    assert (tile.value, tile.unit) == ("1.500", "A")
    assert estimate_tiles(None, LIVE) == []


def test_nothing_has_no_sign() -> None:
    (tile,) = estimate_tiles(estimate(current_offset=(-0.0002, 0.039)), LIVE)
    assert (tile.value, tile.note) == ("0", "± 39")
