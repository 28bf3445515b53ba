"""Dots of the display's characters, and a picture of the glass as SVG.

The ROM's characters are drawn by the common public 5x7 font for small displays, close to Hitachi's ROM A00; the
display's own characters come from its memory, dot by dot.
"""

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from tests.hardware.board.hd44780 import Hd44780

FONT: Final = bytes.fromhex(
    "0000000000 00005f0000 0007000700 147f147f14 242a7f2a12 2313086462 3649562050 0008070300 001c224100 0041221c00"
    "2a1c7f1c2a 08083e0808 0080703000 0808080808 0000606000 2010080402 3e5149453e 00427f4000 7249494946 2141494d33"
    "1814127f10 2745454539 3c4a494931 4121110907 3649494936 464949291e 0000140000 0040340000 0008142241 1414141414"
    "0041221408 0201590906 3e415d594e 7c1211127c 7f49494936 3e41414122 7f4141413e 7f49494941 7f09090901 3e41415173"
    "7f0808087f 00417f4100 2040413f01 7f08142241 7f40404040 7f021c027f 7f0408107f 3e4141413e 7f09090906 3e4151215e"
    "7f09192946 2649494932 03017f0103 3f4040403f 1f2040201f 3f4038403f 6314081463 0304780403 6159494d43 007f414141"
    "0204081020 004141417f 0402010204 4040404040 0003070800 2054547840 7f28444438 3844444428 384444287f 3854545418"
    "00087e0902 18a4a49c78 7f08040478 00447d4000 2040403d00 7f10284400 00417f4000 7c04780478 7c08040478 3844444438"
    "fc18242418 18242418fc 7c08040408 4854545424 04043f4424 3c4040207c 1c2040201c 3c4030403c 4428102844 4c9090907c"
    "4464544c44 0008364100 0000770000 0041360800 0201020402".replace(" ", "")
)
"""Columns of characters 0x20 to 0x7e, five bytes each, lowest bit at the top."""

BLOCK: Final = (0b11111,) * 8
DEGREE: Final = (0b01110, 0b01010, 0b01110, 0, 0, 0, 0, 0)


def dots(code: int, cgram: bytes) -> tuple[int, ...]:
    """Eight rows of five dots, the leftmost in bit 4."""
    if code < 0x10:
        place = (code & 7) * 8
        return tuple(cgram[place : place + 8])
    if code == 0xFF:
        return BLOCK
    if code == 0xDF:
        return DEGREE
    if not 0x20 <= code <= 0x7E:
        return (0,) * 8
    columns = FONT[(code - 0x20) * 5 :][:5]
    return tuple(sum((columns[x] >> y & 1) << (4 - x) for x in range(5)) for y in range(8))


DOT: Final = 0.55  # of the 20x4 module: dots of 0.55 mm every 0.60 mm, characters every 3.55 by 5.35 mm
STEP: Final = 0.6
ADVANCE: Final = (3.55, 5.35)
MARGIN: Final = 4.0


def glass(lcd: Hd44780, x: float = 0.0, y: float = 0.0) -> str:
    """An SVG group: the glass with its dots, in millimetres."""
    width = lcd.columns * ADVANCE[0] + 2 * MARGIN
    height = lcd.rows * ADVANCE[1] + 2 * MARGIN
    off: list[str] = []
    on: list[str] = []
    for row, codes in enumerate(lcd.codes()):
        for column, code in enumerate(codes):
            left, top = MARGIN + column * ADVANCE[0], MARGIN + row * ADVANCE[1]
            off.append(f"M{left:.2f} {top:.2f}h{5 * STEP:.2f}v{8 * STEP:.2f}h-{5 * STEP:.2f}z")
            for line, bits in enumerate(dots(code, bytes(lcd.cgram))):
                lit = (i for i in range(5) if bits >> (4 - i) & 1)
                on += [f"M{left + i * STEP:.2f} {top + line * STEP:.2f}h{DOT}v{DOT}h-{DOT}z" for i in lit]
    return (
        f'<g transform="translate({x:g} {y:g})"><rect width="{width:g}" height="{height:g}" rx="2" fill="#1d3fbf"/>'
        f'<path d="{"".join(off)}" fill="#2348c8"/><path d="{"".join(on)}" fill="#f2f6ff"/></g>'
    )


def picture(frames: Sequence[tuple[str, Hd44780]], columns: int = 2) -> str:
    """Captioned displays side by side, as an SVG document."""
    sizes = [(f.columns * ADVANCE[0] + 2 * MARGIN, f.rows * ADVANCE[1] + 2 * MARGIN) for _, f in frames]
    wide, high = max(w for w, _ in sizes) + 4, max(h for _, h in sizes) + 9
    rows = -(-len(frames) // columns)
    parts = []
    for i, (caption, lcd) in enumerate(frames):
        x, y = i % columns * wide + 2, i // columns * high + 7
        parts.append(glass(lcd, x, y))
        parts.append(f'<text x="{x:g}" y="{y - 1.5:g}" font-size="3.6" fill="#444">{escape(caption)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * wide:g} {rows * high:g}" '
        f'width="{columns * wide * 5:g}" font-family="sans-serif"><rect width="100%" height="100%" fill="#fff"/>'
        + "\n".join(parts)
        + "</svg>\n"
    )
