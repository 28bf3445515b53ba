"""python -m training train [--data DIR] [--out bundles/dyad-int8]"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from services.bus.settings import ROOT
from services.inference.bundle import Manifest
from training.fit import Recipe
from training.train import train


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m training", description="Train and export Emberwatch's bundles.")
    command = parser.add_subparsers(dest="command", required=True).add_parser("train", help="vehicles -> INT8 bundle")
    command.add_argument("--data", type=Path, default=ROOT / "data" / "ev-fault", help="folder of the recordings")
    command.add_argument("--out", type=Path, default=ROOT / "bundles" / "dyad-int8", help="the bundle's folder")
    command.add_argument("--steps", type=int, default=Recipe().steps, help="steps of the optimizer")
    command.add_argument("--seed", type=int, default=Recipe().seed)
    command.add_argument("--teacher", action="store_true", help="train a GRU form first and distil it (minutes longer)")
    given = parser.parse_args()
    console = Console()
    try:
        recipe = Recipe(steps=given.steps, seed=given.seed)
        manifest = train(given.data, given.out, recipe, console, teacher=given.teacher)
    except (OSError, ValueError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 2
    console.print(report(manifest))
    console.print(f"{manifest.id} -> {given.out}")
    return 0


def report(manifest: Manifest) -> Table:
    """Figures of merit of the spans."""
    table = Table("span", "windows", "median", "p95", f"over {manifest.score.threshold:g}", title=manifest.title)
    for span, figures in manifest.figures.items():
        if isinstance(figures, dict) and figures.get("windows"):
            table.add_row(
                span,
                str(figures["windows"]),
                f"{figures['median']:.2f}",
                f"{figures['p95']:.2f}",
                f"{figures['over_threshold']:.1%}",
            )
    return table


if __name__ == "__main__":
    sys.exit(main())
