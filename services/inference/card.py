"""A bundle's model card in Markdown: what its reader must know before trusting it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from services.bus.profiles import Profile
from services.inference.bundle import Manifest
from services.inference.channels import ChannelSpec
from services.inference.verify import FLOAT_WORK, Verified

PURPOSE: Final = {
    "detector": "It judges wherever it is installed.",
    "reference": "For comparison: it judges only where the setting `references` names it.",
}
INTEGER: Final = ("QLinear", "QGemm", "ConvInteger", "MatMulInteger", "DynamicQuantize")
DERIVED: Final = {
    "charge": "Ah counted from the current since the window's segment began",
    "phase": "1 = charge, -1 = discharge",
    "phase_time": "s since the phase began",
    "phase_charge": "charge since the phase began, part of the capacity",
    "phase_first_voltage": "voltage with which the phase began",
    "phase_first_c_rate": "C-rate with which the phase began",
    "c_rate": "current, parts of the capacity an hour",
    "c_rate_average": "exponential average of the C-rate",
    "chemistry": "which of the known chemistries it is",
}


def card(verified: Verified, profile: Profile) -> str:
    """The card of a verified bundle; `profile` is the one that it judges."""
    manifest = verified.bundle.manifest
    parts = [
        f"# {manifest.title}\n\n`{manifest.id}`, model `{manifest.sha256[:16]}..`",
        _judges(manifest, profile),
        "## Score\n\n"
        f"{manifest.score.definition}\n\n"
        f"**Threshold {manifest.score.threshold:g}.** {manifest.score.threshold_from} Whether a score beyond it is an "
        "alarm is a rule's decision (`rules/`, kind `score`).",
        "## Training data\n\n" + _items(manifest.training),
        "## Figures\n\n" + _figures({k: v for k, v in manifest.figures.items() if k != "operators"}),
        _machine(verified),
        _limits(manifest, verified.notes),
    ]
    return "\n\n".join(parts) + "\n"


def _judges(manifest: Manifest, profile: Profile) -> str:
    minutes, stride = manifest.window * manifest.step_s / 60, manifest.stride * manifest.step_s / 60
    what = "single cells, charge by charge and discharge by discharge" if manifest.of_cell else "whole devices"
    rows = [
        (c.name, _unit(c, profile), c.role, _how(c), f"({_number(c.offset)}, {_number(c.scale)})")
        for c in manifest.channels
    ]
    return (
        "## What it judges\n\n"
        f"Profile `{manifest.profile}` version {manifest.profile_version}: {what}. {PURPOSE[manifest.purpose]} "
        f"Windows of {manifest.window} steps of {manifest.step_s:g} s ({minutes:.3g} minutes), one each {stride:.3g} "
        f"minutes. Devices that are sampled each {manifest.period_max_s:g} s or faster. A hole of up to "
        f"{manifest.hole_max} steps is held and masked; a window with more than {manifest.holes_max} held steps is "
        "passed over.\n\n" + _table(("channel", "unit", "role", "how", "scaler (offset, scale)"), rows)
    )


def _unit(channel: ChannelSpec, profile: Profile) -> str:
    if channel.derived:
        return {"charge": "Ah", "phase_time": "s", "phase_first_voltage": "V"}.get(channel.derived, "1")
    unit = profile.by_name[channel.name].unit
    return f"{unit} per element" if channel.per else unit


def _how(channel: ChannelSpec) -> str:
    if channel.derived:
        how = DERIVED[channel.derived]
        if channel.seconds is not None:
            how += f" over {channel.seconds:g} s"
        if channel.among is not None:
            how += f": {', '.join(channel.among)}"
    else:
        how = "mean of the elements, " if channel.across else ""
        how += "mean of the step" if channel.reduce == "mean" else "last of the step"
        if channel.per:
            how += f", divided by the number of {channel.per}"
    for phase, limits in (("charge", channel.charge_range), ("discharge", channel.discharge_range)):
        if limits is not None:
            how += f"; judged in {phase} from {_number(limits[0])} to {_number(limits[1])}"
    return how


def _machine(verified: Verified) -> str:
    counts = verified.operators
    whole = sum(n for name, n in counts.items() if name.startswith(INTEGER))
    floats = sum(n for name, n in counts.items() if name in FLOAT_WORK)
    arithmetic = f"{whole} integer operators" if whole else "no integer operators"
    arithmetic += f", {floats} of a net's work in float" if floats else ", none of a net's work in float"
    return (
        "## Size and speed\n\n"
        f"{verified.size / 1000:.1f} KB; {verified.latency_ms:.2f} ms a window on this machine (median, one thread); "
        f"{arithmetic}.\n\n" + _table(("operator", "runs"), counts.items())
    )


def _limits(manifest: Manifest, notes: Sequence[str]) -> str:
    minutes = manifest.window * manifest.step_s / 60
    lines = [
        *manifest.limits,
        f"What is not in these channels, and little of what shows for much less than a window ({minutes:.3g} minutes). "
        "Limits on single readings are rules of their own and do not wait for it.",
        "Devices unlike those of its training data: its figures say nothing of them.",
        *(f"Seen on this machine: {note}." for note in notes),
    ]
    return "## What it cannot see\n\n" + "\n".join(f"- {line}" for line in lines)


def _figures(figures: Mapping[str, Any]) -> str:
    """Tables of what has the same fields, lists of the rest."""
    plain = {name: value for name, value in figures.items() if not _is_row(value)}
    rows: dict[tuple[str, ...], list[tuple[str, Mapping[str, Any]]]] = {}
    for name, value in figures.items():
        if _is_row(value):
            rows.setdefault(tuple(value), []).append((name, value))
    parts = [
        _table(("", *fields), [(name, *(_number(value[f]) for f in fields)) for name, value in group])
        for fields, group in rows.items()
    ]
    if plain:
        parts.append(_items(plain))
    return "\n\n".join(parts) or "None."


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and not any(isinstance(v, dict | list) for v in value.values())


def _items(values: Mapping[str, Any], depth: int = 0) -> str:
    lines: list[str] = []
    for name, value in values.items():
        indent = "  " * depth
        if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
            lines += [f"{indent}- {name}:", _items(value, depth + 1)]
        else:
            lines.append(f"{indent}- {name}: {_text(value)}")
    return "\n".join(lines) or "Not said."


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(v)}" for name, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return _number(value)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    def line(cells: Iterable[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(heads), "|" + "---|" * len(heads), *(line(row) for row in rows)])
