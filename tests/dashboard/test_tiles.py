"""Numbers say what they are, and when they are old."""

from services.dashboard.staleness import Freshness
from services.dashboard.tiles import battery_tiles, direction, other_tiles
from tests.dashboard.conftest import sample

LIVE = Freshness("live", "live", 0.24)
STALE = Freshness("stale", "no sample for 42 s", 42.0)


def test_every_channel_of_the_device_has_a_tile_in_its_unit() -> None:
    shown = {t.label: (t.value, t.unit, t.note) for t in battery_tiles(sample(0), LIVE)}
    assert shown == {
        "Voltage": ("352.0", "V", ""),
        "Current": ("-46.1", "A", "discharging"),
        "State of charge": ("61.0", "%", ""),
        "Cell spread": ("24", "mV", "3 cells"),
        "Highest cell": ("3.712", "V", "cell 2"),
        "Lowest cell": ("3.688", "V", "cell 3"),
        "Hottest probe": ("31.0", "°C", "probe 1"),
        "Coldest probe": (None, "°C", "probe 1"),
        "Last sample": ("0.2", "s ago", "live"),
    }


def test_a_missing_reading_is_no_number_and_names_its_fault() -> None:
    coldest = next(t for t in battery_tiles(sample(0), LIVE) if t.label == "Coldest probe")
    assert (coldest.value, coldest.mark) == (None, "fault:crc")


def test_all_tiles_of_a_silent_device_are_stale() -> None:
    found = battery_tiles(sample(0), STALE)
    assert all(t.stale for t in found)
    assert (found[-1].value, found[-1].unit) == ("42 s", "ago")


def test_what_a_device_does_not_measure_has_no_tile() -> None:
    labels = [t.label for t in battery_tiles(sample(0).model_copy(update={"channels": {"voltage": 12.0}}), LIVE)]
    assert labels == ["Voltage", "Last sample"]
    assert [t.label for t in battery_tiles(None, Freshness("waiting", "", None))] == ["Last sample"]


def test_another_profile_gets_a_tile_a_scalar() -> None:
    smoke = sample(0).model_copy(update={"channels": {"co": 3.25, "spectrum": [1.0]}, "quality": {}})
    first, age = other_tiles(smoke, LIVE, {"co": "ppm"})
    assert (first.label, first.value, first.unit, age.label) == ("Co", "3.25", "ppm", "Last sample")


def test_direction_is_in_words() -> None:
    assert [direction(a) for a in (20.0, -20.0, 0.3, None)] == ["charging", "discharging", "at rest", ""]
