"""Take the README's picture of a running dashboard: `python docs/screenshot.py URL OUT.png [--dark] [--view History]`.

Needs playwright (`pip install playwright`) and Chromium (Debian: `apt-get install chromium`; another path: $CHROMIUM).
It waits for a drawn chart, so a picture of an empty page cannot come out by accident.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url", help="of the dashboard, http://127.0.0.1:8501")
    parser.add_argument("out", type=Path, help="PNG file to write")
    parser.add_argument("--dark", action="store_true", help="as a browser with a dark theme shows it")
    parser.add_argument("--view", default="Live", help="Live, History or System")
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--wait", default="canvas", help="CSS selector that must be there first")
    parser.add_argument("--settle", type=float, default=3.0, help="time for the charts to be drawn [s]")
    options = parser.parse_args()
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        print("screenshot: playwright is missing; pip install playwright", file=sys.stderr)
        return 2
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("screenshot: no chromium found; install it or set CHROMIUM to its path", file=sys.stderr)
        return 2
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            page = browser.new_page(
                viewport={"width": options.width, "height": options.height},
                color_scheme="dark" if options.dark else "light",
            )
            page.goto(options.url, wait_until="domcontentloaded", timeout=60_000)
            page.get_by_role("heading", name="Emberwatch").wait_for(timeout=60_000)
            if options.view != "Live":
                page.get_by_text(options.view, exact=True).first.click()
            page.locator(options.wait).first.wait_for(timeout=60_000)
            page.wait_for_timeout(options.settle * 1000)
            page.screenshot(path=options.out)
            browser.close()
    except Error as error:
        print(f"screenshot: {options.url}: {error.message.splitlines()[0]}", file=sys.stderr)
        return 1
    print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
