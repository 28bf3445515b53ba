"""Open-circuit voltage tables of services/inference/chemistries, from the parameter sets that PyBaMM carries.

    python -m training.ocv

A chemistry's table is the mean of its sets. Its error is what they differ by (standard deviation), and at least what
charging and discharging leave between them (hysteresis) and what a shift of the state of charge by SHIFT makes: cells
of one chemistry differ in where their electrodes begin and end. Layered oxides of which there is one set only differ as
much as those of which there are several.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from services.inference.estimators.chemistry import FOLDER

SHIFT: Final = 0.03
SOC: Final = (0, 0.01, 0.02, 0.035, 0.05, 0.075, *np.arange(0.1, 0.96, 0.05).round(2).tolist(), 0.975, 0.99, 1)


@dataclass(frozen=True)
class Recipe:
    """A chemistry and its parameter sets."""

    title: str
    sets: dict[str, str]  # PyBaMM's name -> what it is
    least_error: float  # V
    rest_s: float
    empty_v: float
    like: str = ""  # chemistry whose makes differ as this one's will


RECIPES: Final = {
    "NMC": Recipe(
        "Layered oxide of nickel, manganese, cobalt; graphite",
        {
            "Chen2020": "LG M50, NMC811 (Chen et al., J. Electrochem. Soc. 167 (2020) 080534)",
            "Mohtat2020": "NMC532 pouch (Mohtat et al., J. Electrochem. Soc. 167 (2020) 110561)",
            "Ecker2015": "Kokam NMC (Ecker et al., J. Electrochem. Soc. 162 (2015) A1836)",
        },
        0.01,
        1800.0,
        3.0,
    ),
    "NCA": Recipe(
        "Layered oxide of nickel, cobalt, aluminium; graphite",
        {"NCA_Kim2011": "20 Ah NCA (Kim et al., J. Electrochem. Soc. 158 (2011) A955)"},
        0.01,
        1800.0,
        3.0,
        like="NMC",
    ),
    "LFP": Recipe(
        "Lithium iron phosphate; graphite",
        {"Prada2013": "A123 26650 (Prada et al., J. Electrochem. Soc. 160 (2013) A616)"},
        0.015,
        7200.0,
        2.5,
    ),
}


def curve(name: str) -> list[float]:
    """Open-circuit voltage of a parameter set at SOC [V]."""
    import pybamm  # slow to import, and of the training extra only

    values = pybamm.ParameterValues(name)
    solver = pybamm.lithium_ion.ElectrodeSOHSolver(values)
    found = []
    for soc in SOC:
        negative, positive = solver.get_initial_stoichiometries(float(soc))
        parts = [
            np.asarray(values.evaluate(values[f"{side} electrode OCP [V]"](pybamm.Scalar(x)))).item()
            for side, x in (("Positive", positive), ("Negative", negative))
        ]
        found.append(parts[0] - parts[1])
    return found


def table(name: str, recipe: Recipe) -> dict[str, Any]:
    """The content of a chemistry's file."""
    curves = np.array([curve(one) for one in recipe.sets])
    makes = np.array([curve(one) for one in RECIPES[recipe.like].sets]) if recipe.like else curves
    ocv = np.maximum.accumulate(
        curves.mean(axis=0) + 1e-5 * np.arange(len(SOC))
    )  # strictly rising, as read by bisection
    spread = makes.std(axis=0, ddof=1) if len(makes) > 1 else np.zeros(len(SOC))
    shifted = SHIFT * np.gradient(ocv, np.array(SOC))
    error = np.maximum(spread, np.hypot(recipe.least_error, shifted))
    return {
        "name": name,
        "title": recipe.title,
        "source": f"PyBaMM parameter sets: {'; '.join(f'{n}: {w}' for n, w in recipe.sets.items())}",
        "full_v": round(float(ocv[-1]), 3),
        "empty_v": recipe.empty_v,
        "rest_s": recipe.rest_s,
        "soc": [round(float(s), 4) for s in SOC],
        "ocv": [round(float(v), 5) for v in ocv],
        "error": [round(float(e), 4) for e in error],
    }


def main(folder: Path = FOLDER) -> None:
    for name, recipe in RECIPES.items():
        path = folder / f"{name}.yaml"
        head = "# Open-circuit voltage of a cell [V] over state of charge at 25 degC. Made by: python -m training.ocv\n"
        path.write_text(head + yaml.safe_dump(table(name, recipe), sort_keys=False, width=120), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
