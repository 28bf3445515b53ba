"""The tables of docs/ble.md, from the code: `python -m tests.alert.outputs.ble.table` writes them anew.

One pack, one alarm: what a phone finds, with the bytes as an app such as nRF Connect shows them.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from services.alert.lcd import View
from services.alert.outputs.ble import alarms
from services.alert.outputs.ble.attributes import Node, Tree
from services.alert.ulid import ulid
from services.bus.settings import ROOT
from tests.alert.test_lcd import entry

PAGE: Final = ROOT / "docs" / "ble.md"
BEGIN, END = "<!-- begin of the table: python -m tests.alert.outputs.ble.table -->\n", "<!-- end of the table -->\n"
RAISED: Final = datetime(2026, 11, 21, 8, 15, 2, tzinfo=UTC)
CHANNELS: Final = {
    "voltage": 355.2, "current": -46.1, "soc": 0.61, "temperature_max": 61.25, "cell_voltage_max": 3.712,
    "cell_voltage_min": 3.688, "temperatures": [61.25, None],
}  # fmt: skip
MEANS: Final = {
    "2a29": "text", "2a24": "text: the computer", "2a25": "text: the node's name", "2a28": "text",
    "2a2b": "local time of the node", "2a19": "61 %",
    "2bed": "present, discharging, good, 61 %, battery fault (an alarm of severity high or above)",
    "2be9": "bit 0 critical power, bit 1 immediate service (a critical alarm)",
    "2bea": "61 °C now; the health too where it is estimated",
    "2a6e": "0.01 °C; `0080` = unknown",
}  # fmt: skip
OURS: Final = {
    "Alarm Summary": "version 1, worst severity 3 (high), 1 alarm, 1 not acknowledged, 1 change so far",
    "Alarm": "see below; its first 20 bytes are what Acknowledge takes",
    "Alarm List": "records of all alarms, worst first, each after its length u16",
    "Acknowledge": "write those 20 bytes",
    "Electrical": "mV, mA (positive = charging), highest and lowest cell mV",
}


def table() -> str:
    """Markdown, a row for each characteristic."""
    hot = entry(
        severity="high", word="HOT", value=61.25, limit=60.0, occurrence=ulid(RAISED, "docs"), revision=3,
        raised_at=RAISED.timestamp(), text="Hottest probe 61.2 degC, limit 60.0 degC",
    )  # fmt: skip
    tree = Tree(Node("pi-cellar", "Raspberry Pi 5 Model B Rev 1.0", "0.1.0", secure=True))
    view = View([hot], [("pack-1", CHANNELS)], "08:15:02", 0)
    rows = ["| service | characteristic | UUID | properties | example | meaning |", "|---|---|---|---|---|---|"]
    for service in tree.services(view, datetime(2026, 11, 21, 9, 15, 2)):
        name = f"{service.name} `{service.uuid}`"
        for one in service.characteristics:
            data = "" if one.value is None else f"`{one.value[: alarms.TOKEN].hex(' ').upper()}`"
            data += " .." if one.value is not None and len(one.value) > alarms.TOKEN else ""
            about = f" ({one.about})" if one.about else ""
            meaning = MEANS.get(one.uuid) or OURS[one.name]
            rows.append(f"| {name} | {one.name}{about} | `{one.uuid}` | {', '.join(one.flags)} | {data} | {meaning} |")
            name = ""
    return "\n".join(rows) + "\n"


def with_table(page: str) -> str:
    """The page with the present table in it. Raises ValueError: the marks are not there."""
    before, _, rest = page.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not end:
        raise ValueError("docs/ble.md has lost the marks of its table")
    del old
    return f"{before}{BEGIN}{table()}{END}{after}"


def main(page: Path = PAGE) -> None:
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
