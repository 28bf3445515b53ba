"""The GPIO lines, by gpiozero on lgpio."""

import os
import tempfile
from typing import Any


def lgpio_factory(chip: int | None) -> Any:
    """gpiozero's pins on /dev/gpiochip`chip` (None: the one that belongs to this Pi).

    Raises:
        OSError: no such chip, no permission, or not a board that gpiozero knows.
    """
    os.environ.setdefault("LG_WD", tempfile.gettempdir())  # lgpio leaves a pipe in the current folder otherwise
    from gpiozero.exc import GPIOZeroError
    from gpiozero.pins.lgpio import LGPIOFactory

    try:
        return LGPIOFactory(chip=chip)
    except (GPIOZeroError, RuntimeError) as error:
        raise OSError(f"GPIO: {error}") from error
    except Exception as error:  # lgpio.error is no subclass of anything
        raise OSError(f"/dev/gpiochip{'N' if chip is None else chip}: {error}") from error
