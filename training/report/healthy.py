"""What the shipped pack detector raises on healthy vehicles, by rule: a part of docs/detection.md."""

from pathlib import Path
from typing import Any

Rows = dict[str, Any]


def report(figures: Rows, folder: Path) -> dict[str, str]:
    """Markers -> table."""
    return {"healthy.rows": rows(figures), "healthy.cells": cells(figures)}


def rows(figures: Rows) -> str:
    """Raises a vehicle-day with the upper end of their 95 % interval; when the real fault is found."""
    lines = [
        "| k of n windows | real, all healthy | real, not learnt from | simulated | car2's cell is found after, days |",
        "|---" * 5 + "|",
    ]
    sides = figures["ev-fault"]
    for real, unlearnt, found, simulated in zip(
        sides["healthy"], sides["unlearnt"], sides["found"], figures["simulated"], strict=True
    ):
        shipped = "**" if (real["k"], real["n"]) == (figures["rule"]["k"], figures["rule"]["n"]) else ""
        after = "never" if found["after_days"] is None else f"{found['after_days']:.1f}"
        cells = [_rate(part) for part in (real, unlearnt, simulated)]
        lines.append(f"| {shipped}{real['k']} of {real['n']}{shipped} | {' | '.join(cells)} | {after} |")
    parts = [sides["healthy"][0], sides["unlearnt"][0], figures["simulated"][0]]
    in_days, beyond = (", ".join(form.format(**part) for part in parts) for form in ("{days}", "{beyond:.2%}"))
    lines += [
        "",
        f"`{figures['bundle']}`, threshold {figures['threshold']}: raises; raises a vehicle-day (upper end, 95 %), in "
        f"{in_days} vehicle-days. Windows beyond the threshold: {beyond}.",
    ]
    return "\n".join(lines)


def cells(figures: Rows) -> str:
    """The cell detector on makes that it does not know."""
    lines = [
        "| set, told to be | cells | days | windows judged | not judged | beyond the threshold | raised |",
        "|---" * 7 + "|",
    ]
    for name, found in figures["cells"].items():
        for chemistry, row in found["by_chemistry"].items():
            counts = " | ".join(str(row[key]) for key in ("windows", "passed_over", "beyond", "raised"))
            lines.append(f"| {name}, {chemistry} | {found['cells']} | {found['days']} | {counts} |")
    return "\n".join(lines)


def _rate(part: Rows) -> str:
    return "-" if part["a_day"] is None else f"{part['raised']}: {part['a_day']:.3f} ({part['a_day_below']:.3f})"
