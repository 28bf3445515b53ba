"""`python -m services.dashboard`: check the settings, then become `streamlit run app.py`."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from services.bus.errors import ConfigError
from services.bus.lifecycle import EXIT_ERROR
from services.bus.settings import ROOT
from services.dashboard.settings import DashboardSettings


def command(settings: DashboardSettings) -> list[str]:
    """The command line: no questions, no usage statistics, no watching of files, nothing that is not ours."""
    flags = {
        "server.headless": "true",
        "server.address": settings.http_host,
        "server.port": str(settings.http_port),
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": "false",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "type",
        "theme.light.primaryColor": "#2563eb",
        "theme.dark.primaryColor": "#60a5fa",
        "theme.dark.backgroundColor": "#0f1318",
        "theme.dark.secondaryBackgroundColor": "#1a2028",
    }
    page = str(Path(__file__).with_name("app.py"))
    return [sys.executable, "-m", "streamlit", "run", page, *(f"--{name}={value}" for name, value in flags.items())]


def main() -> int:
    try:
        settings = DashboardSettings.load()
    except ConfigError as error:
        print(f"dashboard: {error}", file=sys.stderr, flush=True)
        return EXIT_ERROR
    return become(command(settings))


def become(line: list[str]) -> NoReturn:
    """Replace this process, so that signals reach the server itself."""
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part)
    os.execve(line[0], line, os.environ | {"PYTHONPATH": path})


if __name__ == "__main__":
    sys.exit(main())
