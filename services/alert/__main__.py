"""`python -m services.alert`: start the alert service."""

import sys

from services.alert.rules import load_rules
from services.alert.service import serve
from services.alert.settings import AlertSettings
from services.bus.errors import EmberwatchError
from services.bus.lifecycle import run


def main() -> int:
    try:
        settings = AlertSettings.load()
        rules = load_rules(settings.rule_files)
    except EmberwatchError as error:
        print(f"alert: {error}", file=sys.stderr)
        return 2
    return run(lambda stop: serve(settings, rules, stop), "alert")


if __name__ == "__main__":
    sys.exit(main())
