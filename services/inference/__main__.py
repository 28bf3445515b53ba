"""`python -m services.inference`: start the inference service."""

import sys

from services.bus.errors import EmberwatchError
from services.bus.lifecycle import run
from services.inference.service import serve
from services.inference.settings import InferenceSettings


def main() -> int:
    try:
        settings = InferenceSettings.load()
    except EmberwatchError as error:
        print(f"inference: {error}", file=sys.stderr)
        return 2
    return run(lambda stop: serve(settings, stop), "inference")


if __name__ == "__main__":
    sys.exit(main())
