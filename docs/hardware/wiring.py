"""Draws wiring.svg: `python docs/hardware/wiring.py`. The tables are the wiring; a test holds the file to them."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

TARGET: Final = Path(__file__).with_name("wiring.svg")
WIDTH, PITCH, HEADER_X, HEADER_Y = 1160, 22, 190, 80
BOX_X, BOX_WIDTH = 560, 250
RED, BLACK, BLUE, GREEN, AMBER, VIOLET, BROWN = (
    "#c62828", "#222222", "#1565c0", "#2e7d32", "#e08600", "#6a1b9a", "#6d4c41",
)  # fmt: skip

HALO: Final = ' stroke="#e8f5e9" stroke-width="4" paint-order="stroke"'

PI: Final = {  # pin of the 40-pin header -> name
    1: "3.3 V", 2: "5 V", 3: "GPIO 2 SDA", 5: "GPIO 3 SCL", 6: "GND", 7: "GPIO 4", 9: "GND", 11: "GPIO 17",
    13: "GPIO 27", 14: "GND", 15: "GPIO 22", 16: "GPIO 23", 17: "3.3 V", 18: "GPIO 24", 20: "GND", 25: "GND",
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A component: its terminals with the header's pin and the wire's colour, and what stands in its box."""

    title: str
    wires: tuple[tuple[str, int, str], ...]
    notes: tuple[str, ...] = ()


PARTS: Final = (
    Part(
        "DS18B20 probes (any number in parallel)",
        (("VDD", 1, RED), ("DATA", 7, AMBER), ("GND", 6, BLACK)),
        ("4.7 kOhm from DATA to VDD, once;", "three wires, never parasite power"),
    ),
    Part(
        "ADS1115 (address 0x48)",
        (("VDD", 17, RED), ("SCL", 5, BLUE), ("SDA", 3, GREEN), ("GND", 9, BLACK)),
        (
            "A0: divider of the pack's voltage",
            "A2, A3: shunt amplifier or hall sensor",
            "every input 0 .. 3.3 V, 1 kOhm in series",
        ),
    ),
    Part(
        "Level shifter and LCD 20x4 (PCF8574, 0x27)",
        (("HV", 2, RED), ("SCL", 5, BLUE), ("SDA", 3, GREEN), ("GND", 14, BLACK)),
        ("backpack at 5 V pulls the bus to 5 V:", "only behind a level shifter, LV at 3.3 V"),
    ),
    Part(
        "LEDs, 330 Ohm each",
        (("green", 11, GREEN), ("amber", 13, AMBER), ("red", 15, RED), ("GND", 20, BLACK)),
    ),
    Part(
        "Push button",
        (("1", 16, VIOLET), ("2", 20, BLACK)),
        ("press: acknowledge, page", "hold 1 s: silence, 5 s: drill"),
    ),
    Part(
        "Active buzzer, by a transistor",
        (("+", 18, BROWN), ("GND", 25, BLACK)),
        ("over 10 mA: NPN, 1 kOhm at its base",),
    ),
)
PACK: Final = (
    "Pack side (up to 60 V DC)",
    "pack + -> fuse 0.5 A -> R1 -> A0 ; A0 -> R2 -> GND ; 100 nF and a 3.3 V clamp at A0",
    "R1 = 20 x R2 for 60 V: 200 kOhm and 10 kOhm, 0.1 %; the fuse stands at the pack's terminal",
    "current: hall sensor (isolated), or a shunt in the minus wire with INA226",
    "above 60 V DC: no divider. An isolated BMS (Bluetooth, MQTT) is the way",
)


def pin_place(pin: int) -> tuple[float, float]:
    """Odd pins left, even ones right, as on the board."""
    return HEADER_X + (0 if pin % 2 else 34), HEADER_Y + (pin - 1) // 2 * PITCH


def text(
    x: float, y: float, content: str, size: int = 13, anchor: str = "start", weight: str = "normal", halo: str = ""
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}"{halo}>'
        f"{escape(content)}</text>"
    )


def box(x: float, y: float, width: float, height: float, fill: str, stroke: str) -> str:
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<rect {place} rx="6" fill="{fill}" stroke="{stroke}"/>'


def board() -> list[str]:
    return [
        box(40, 40, 330, 20 * PITCH + 50, "#e8f5e9", GREEN),
        text(205, 62, "Raspberry Pi 5, 40-pin header", 14, "middle", "bold"),
    ]


def pins() -> list[str]:
    """Drawn over the wires."""
    lines = []
    for pin in range(1, 41):
        x, y = pin_place(pin)
        used = "#ffd54f" if pin in PI else "#ffffff"
        lines.append(f'<circle cx="{x:g}" cy="{y:g}" r="8" fill="{used}" stroke="#555"/>')
        lines.append(text(x, y + 4, str(pin), 9, "middle"))
        if pin in PI:
            left = pin % 2 == 1
            lines.append(text(x - 14 if left else x + 14, y + 4, PI[pin], 12, "end" if left else "start", halo=HALO))
    return lines


def part(at: Part, y: float) -> tuple[list[str], float]:
    """The box, its wires; returns its height."""
    height = max(26 + 20 * max(len(at.wires), len(at.notes)), 66)
    lines = [
        box(BOX_X, y, WIDTH - BOX_X - 20, height, "#fafafa", "#555555"),
        text(BOX_X + 80, y + 18, at.title, 13, weight="bold"),
        *(text(BOX_X + 80, y + 40 + 18 * i, note, 12) for i, note in enumerate(at.notes)),
    ]
    for i, (terminal, pin, colour) in enumerate(at.wires):
        x0, y0 = pin_place(pin)
        y1 = y + 28 + 20 * i
        start = x0 + 8
        lines.append(
            f'<path d="M {start:g} {y0:g} C {start + 230:g} {y0:g} {BOX_X - 170} {y1:g} {BOX_X} {y1:g}" fill="none" '
            f'stroke="{colour}" stroke-width="2.2"/>'
        )
        lines.append(f'<circle cx="{BOX_X}" cy="{y1:g}" r="4" fill="{colour}"/>')
        lines.append(text(BOX_X + 10, y1 + 4, terminal, 12))
        lines.append(text(BOX_X - 8, y1 - 4, f"pin {pin}", 10, "end", halo=HALO.replace("#e8f5e9", "#ffffff")))
    return lines, height


def draw() -> str:
    body, y = board(), 40.0
    for component in PARTS:
        lines, height = part(component, y)
        body += lines
        y += height + 16
    body += pins()
    bottom = max(y, HEADER_Y + 20 * PITCH + 40)
    body.append(box(40, bottom, WIDTH - 60, 22 * len(PACK) + 16, "#fff3e0", AMBER))
    for i, line in enumerate(PACK):
        body.append(text(56, bottom + 24 + 22 * i, line, 13, weight="bold" if i == 0 else "normal"))
    height = bottom + 22 * len(PACK) + 40
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        'font-family="DejaVu Sans, Arial, sans-serif">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height:g}" fill="#ffffff"/>', *body, "</svg>"]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
    print(TARGET)
