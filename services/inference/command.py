"""`./emberwatch bundle`: look at a bundle before trusting it."""

import argparse
import sys
from pathlib import Path

from services.bus.errors import EmberwatchError
from services.bus.profiles import load_profile
from services.inference.card import card
from services.inference.verify import Verified, verify, where


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="action", required=True)
    for name, what in (("verify", "check all that can be checked; exit code 2 when it must not be used"),
                       ("card", "print its model card (Markdown)")):  # fmt: skip
        verb = verbs.add_parser(name, help=what, description=what)
        verb.add_argument("folder", type=Path, metavar="DIR", help="folder with manifest.json and model.onnx")


def main(given: argparse.Namespace) -> int:
    """0 = it can be used, 2 = it must not; says which file breaks which rule."""
    try:
        verified = verify(where(given.folder))
        if given.action == "card":
            print(card(verified, load_profile(verified.bundle.manifest.profile)), end="")
        else:
            print(summary(verified))
    except EmberwatchError as error:
        print(f"bundle: {error}", file=sys.stderr)
        return 2
    return 0


def summary(verified: Verified) -> str:
    manifest = verified.bundle.manifest
    lines = [
        f"{manifest.id}: {manifest.title}",
        f"sha256, profile {manifest.profile} {manifest.profile_version}, {len(manifest.channels)} channels, shapes, "
        f"trial runs: right. {verified.size} bytes, {verified.latency_ms:.2f} ms a window.",
        "operators: " + ", ".join(f"{name} {count}" for name, count in verified.operators.items()),
        *(f"note: {note}" for note in verified.notes),
    ]
    return "\n".join(lines)
