"""python -m training train|evaluate|study|report: by convention one module a trainer, data set, study or picture.

Only what the verb needs is imported: `evaluate` runs without torch.
"""

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from services.bus.errors import EmberwatchError
from services.bus.settings import ROOT
from services.inference.bundle import MANIFEST

DEFAULT: Final = "dyad-int8"
DOCS: Final = ROOT / "docs"
EXIT_ERROR: Final = 2


def main(arguments: list[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    console = Console(stderr=True)  # the result alone goes to standard output
    try:
        {"train": train, "evaluate": evaluate, "study": study, "report": report}[given.verb](given, console)
    except (EmberwatchError, OSError, ValueError) as error:
        print(f"{given.verb}: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print(f"{given.verb}: interrupted", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="emberwatch", description="Train, judge and describe Emberwatch's bundles.")
    verbs = top.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("train", help="data -> bundle")
    verb.add_argument("config", nargs="?", default=DEFAULT, help="name in training/configs, a .yaml file, or all")
    verb.add_argument("--data", type=Path, help="folder of the data (default: as the configuration says)")
    verb.add_argument("--out", type=Path, help="the bundle's folder (default: as the configuration says)")
    verb.add_argument("--resume", action="store_true", help="go on where a training that was killed had got to")
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="over the configuration")
    verb = verbs.add_parser("evaluate", help="a bundle's figures on a labelled data set (no torch needed)")
    verb.add_argument("--bundle", type=Path, required=True, help="the bundle's folder")
    verb.add_argument("--dataset", required=True, help="isc_ncm, ev-fault, evbattery, simulated, ..")
    verb.add_argument("--path", type=Path, required=True, help="folder or file of the data set")
    verb.add_argument("--json", action="store_true", help="one line of JSON instead of an indented one")
    verb = verbs.add_parser("study", help="the figures of docs/detection.md, one JSON file a study")
    verb.add_argument("names", nargs="*", help="modules of training/studies (default: all)")
    verb.add_argument("--data", type=Path, default=ROOT / "data", help="folder that holds the data sets' folders")
    verb.add_argument("--out", type=Path, default=DOCS / "detection", help="folder of the JSON files")
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="over the configuration")
    verb = verbs.add_parser("report", help="pictures and tables of docs/detection.md from the studies' JSON files")
    verb.add_argument("--figures", type=Path, default=DOCS / "detection", help="folder of the JSON files and pictures")
    verb.add_argument("--page", type=Path, default=DOCS / "detection.md", help="the page whose tables are renewed")
    return top


def train(given: argparse.Namespace, console: Console) -> None:
    """Run the trainer that the configuration names; write the bundle.

    `all`: every bundle of this repository; data sets and bundles are then folders in those that are given.
    """
    from training.configuration import load_plan

    every = given.config == "all"
    for name in shipped() if every else [given.config]:
        plan = load_plan(name, given.set)
        data, out = (
            ROOT / named if folder is None else folder / Path(named).name if every else folder
            for folder, named in ((given.data, plan.head.data), (given.out, plan.head.out))
        )
        manifest = plan.module.train(plan.config, data, out, console, given.resume)
        print(f"{manifest.id} -> {out}", flush=True)


def shipped() -> list[str]:
    """Configurations whose bundle is in the repository."""
    from training.configuration import CONFIGS, load_plan

    names = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    return [name for name in names if (ROOT / load_plan(name).head.out / MANIFEST).exists()]


def evaluate(given: argparse.Namespace, console: Console) -> None:
    """Print a bundle's figures on a data set as JSON."""
    from training.configuration import find

    module = find("evaluation", given.dataset.replace("-", "_"), "--dataset")
    if not given.path.exists():
        raise FileNotFoundError(f"--path: {given.path}: no such file or folder")
    figures = module.evaluate(given.bundle, given.path, console)
    print(json.dumps(figures, allow_nan=False, indent=None if given.json else 1))


def study(given: argparse.Namespace, console: Console) -> None:
    """Run studies one after another; each replaces its own JSON file, and no other, when it is done."""
    from training.configuration import find, names, study_config

    for name in given.names or names("studies"):
        module = find("studies", name, "study")
        figures = module.study(study_config(name, module, given.set), given.data, console)
        path = given.out / f"{name}.json"
        write_json(path, figures)
        print(f"{name} -> {path}")


def report(given: argparse.Namespace, console: Console) -> None:
    """Renew pictures and tables from whatever figures there are."""
    from training.report.page import renew

    for line in renew(given.figures, given.page):
        console.print(line)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s")
    sys.exit(main())
