"""`python -m services.sensor`: settings from EMBERWATCH_* and the configuration file."""

import asyncio
import sys

from services.bus.lifecycle import run
from services.sensor import service
from services.sensor.settings import SensorSettings


async def main(stop: asyncio.Event) -> None:
    await service.run(SensorSettings.load(), stop)


sys.exit(run(main, "sensor"))
