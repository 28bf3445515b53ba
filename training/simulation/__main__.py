"""python -m training.simulation fit | check | fleet | picture: the simulated cell's tables, and what they are for."""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress

from services.bus.errors import EmberwatchError
from services.bus.settings import ROOT
from services.sensor.simulated.cell import FILE, read_cell

REFERENCE: Final = ROOT / "tests" / "training" / "simulation" / "reference.parquet"
FIGURES: Final = ROOT / "docs" / "simulation" / "fidelity.json"
PICTURE: Final = ROOT / "docs" / "simulation" / "fidelity.svg"
FLEET: Final = Path(__file__).with_name("fleet.yaml")
CHECKED_AT: Final = (-5.0, 5.0, 17.5, 32.0, 47.0)  # degC, between those of the fit
SEED: Final = 1


def main(arguments: list[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    console = Console(stderr=True)
    try:
        {"fit": fit, "check": check, "fleet": fleet, "picture": picture}[given.verb](given, console)
    except (EmberwatchError, OSError, ValueError) as error:
        print(f"{given.verb}: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m training.simulation", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("fit", help="run SPMe (ten minutes), fit the cell's tables to it")
    verb.add_argument("--out", type=Path, default=FILE, help="the tables")
    verb = verbs.add_parser("check", help="run SPMe on other profiles and temperatures, and compare")
    verb.add_argument("--reference", type=Path, default=REFERENCE, help="the trajectories that the test compares with")
    verb.add_argument("--figures", type=Path, default=FIGURES)
    verb.add_argument("--kept", action="store_true", help="compare with the trajectories kept, without running SPMe")
    verb = verbs.add_parser("fleet", help="all windows of a simulated fleet, as a Parquet file")
    verb.add_argument("--fleet", type=Path, default=FLEET, help="YAML file of how many vehicles and sessions")
    verb.add_argument("--out", type=Path, default=ROOT / "data" / "simulated" / "fleet.parquet")
    verb = verbs.add_parser("picture", help="the model beside SPMe")
    verb.add_argument("--reference", type=Path, default=REFERENCE)
    verb.add_argument("--out", type=Path, default=PICTURE)
    return top


def fit(given: argparse.Namespace, console: Console) -> None:
    """SPMe's answers to the fit's profiles, and the tables that come nearest to them."""
    from training.simulation import fit as fitting
    from training.simulation import profiles, spme

    electrodes = spme.electrodes()
    curves = fitting.curves_of(electrodes)
    found: dict[float, dict[str, float]] = {}
    with Progress(console=console) as progress:
        task = progress.add_task("fitting", total=len(fitting.TEMPERATURES))
        for temperature in fitting.TEMPERATURES:
            wanted = profiles.fitted(temperature, electrodes.capacity_ah, SEED)
            found[temperature], rmse = fitting.fit(curves, temperature, _run(temperature, wanted, progress))
            console.print(f"{temperature:g} degC: {1e3 * rmse:.2f} mV RMSE")
            progress.advance(task)
    fitting.write_cell(given.out, found, spme.about())
    console.print(f"-> {given.out}")


def check(given: argparse.Namespace, console: Console) -> None:
    """How far the shipped tables are from SPMe on profiles and at temperatures that they were not fitted on."""
    from training.simulation.reference import compare, figures, read_trajectories, write_figures, write_trajectories

    if not given.kept:
        from training.simulation import profiles, spme

        made: list[Any] = []
        with Progress(console=console) as progress:
            task = progress.add_task("checking", total=len(CHECKED_AT))
            for temperature in CHECKED_AT:
                wanted = profiles.checking(temperature, spme.electrodes().capacity_ah, SEED)
                made += _run(temperature, wanted, progress)
                progress.advance(task)
        given.reference.parent.mkdir(parents=True, exist_ok=True)
        write_trajectories(given.reference, made)
    trajectories = read_trajectories(given.reference)
    content = figures(compare(read_cell(FILE), trajectories))
    write_figures(given.figures, content)
    for name, row in content.items():
        numbers = ", ".join(f"{key} {value}" for key, value in row.items() if key != "profiles")
        console.print(f"{name}: {numbers}")


def _run(temperature: float, wanted: list[Any], progress: Progress) -> list[Any]:
    from training.simulation import spme
    from training.simulation.profiles import STEP_S
    from training.simulation.reference import Trajectory

    task = progress.add_task(f"SPMe at {temperature:g} degC", total=len(wanted))
    made = []
    for profile in wanted:
        voltage = spme.run(temperature, profile.soc, profile.current, STEP_S)
        made.append(Trajectory(temperature, profile, voltage))
        progress.advance(task)
    progress.remove_task(task)
    return made


def fleet(given: argparse.Namespace, console: Console) -> None:
    from training.data.simulated import read_fleet, windows

    found = windows(read_fleet(given.fleet))
    found.write(given.out)
    console.print(f"{len(found)} windows of {len(set(found.group.tolist()))} vehicles -> {given.out}")


def picture(given: argparse.Namespace, console: Console) -> None:
    from training.simulation.picture import draw

    draw(given.reference, given.out)
    console.print(f"-> {given.out}")


if __name__ == "__main__":
    sys.exit(main())
