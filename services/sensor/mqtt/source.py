"""The `mqtt` source: what a BMS, an inverter or a gateway says over MQTT, mapped to channels. Wires only."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from services.bus.client import Bus, Message
from services.bus.errors import ConfigError
from services.bus.settings import BusSettings
from services.sensor.mqtt.config import Broker, MqttConfig, load_config, load_map
from services.sensor.mqtt.mapping import DeviceMap
from services.sensor.source import Device, Reading

log = logging.getLogger(__name__)

QUEUE_MAX: Final = 10_000  # readings that nobody has taken; beyond it the oldest goes
LOOK_S: Final = 0.5


def open_source(path: Path | None, settings: BusSettings) -> "MqttSource":
    """Raises ConfigError naming file, key and rule."""
    assert path is not None  # held by the settings
    config = load_config(path)
    maps: dict[str, DeviceMap] = {}
    for name, device in config.devices.items():
        try:
            maps[name] = DeviceMap(load_map(device.map, path.parent), device)
        except ValueError as error:
            raise ConfigError(str(path), f"devices.{name}", str(error)) from None
    return MqttSource(config, maps, settings)


class MqttSource:
    """Args: maps: by device; settings: the sensor service's (node's name, data folder)."""

    def __init__(self, config: MqttConfig, maps: Mapping[str, DeviceMap], settings: BusSettings) -> None:
        self._config, self._maps, self._settings = config, maps, settings
        self._devices = {name: device_map.device for name, device_map in maps.items()}
        self._listeners: dict[str, dict[str, list[str]]] = {}  # broker -> topic -> devices
        for name, device_map in maps.items():
            topics = self._listeners.setdefault(config.devices[name].broker, {})
            for topic in device_map.topics:
                topics.setdefault(topic, []).append(name)
        self.retained_ignored = 0
        self.dropped = 0

    @property
    def devices(self) -> Mapping[str, Device]:
        return self._devices

    async def readings(self) -> AsyncIterator[Reading]:
        queue: asyncio.Queue[Reading] = asyncio.Queue(QUEUE_MAX)
        tasks = [
            asyncio.create_task(self._listen(name, topics, queue), name=f"mqtt.{name}")
            for name, topics in self._listeners.items()
        ]
        try:
            while True:
                taking = asyncio.create_task(queue.get())
                try:
                    await asyncio.wait((taking, *tasks), return_when=asyncio.FIRST_COMPLETED)
                    for task in tasks:
                        if task.done():
                            task.result()  # raises what went wrong; live.py begins again
                            return
                    yield taking.result()
                finally:
                    taking.cancel()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """The connections end with readings()."""

    def _bus(self, name: str, broker: Broker, topics: Mapping[str, list[str]]) -> Bus:
        own = BusSettings(
            node=self._settings.node,
            data_dir=self._settings.data_dir,
            broker_host=broker.host,
            broker_port=broker.port,
            broker_username=broker.username,
            broker_password=broker.password,
            broker_ca=broker.ca,
            session_expiry_s=0,
        )
        client = f"emberwatch-{own.node}-source-{name}"
        return Bus(own, service="sensor", subscribe=list(topics), client_id=client, announce=False)

    async def _listen(self, name: str, topics: dict[str, list[str]], queue: asyncio.Queue[Reading]) -> None:
        async with self._bus(name, self._config.brokers[name], topics) as bus:
            asking = asyncio.create_task(self._ask(name, bus), name=f"mqtt.{name}.ask")
            try:
                async for message in bus.messages():
                    for reading in self._read(message, topics):
                        self._hand_over(queue, reading)
                    message.ack()
            finally:
                asking.cancel()

    def _read(self, message: Message, topics: dict[str, list[str]]) -> list[Reading]:
        if message.retained:  # said before we came, and nobody knows when: no reading of now
            self.retained_ignored += 1
            return []
        now = time.monotonic()
        found = [
            (name, self._maps[name].read(message.topic, message.payload)) for name in topics.get(message.topic, ())
        ]
        return [Reading(name, now, f.channels, f.faults) for name, f in found]

    def _hand_over(self, queue: asyncio.Queue[Reading], reading: Reading) -> None:
        if queue.full():
            queue.get_nowait()
            self.dropped += 1
            if self.dropped % QUEUE_MAX == 1:
                log.error("more messages than can be taken; %d readings dropped so far", self.dropped)
        queue.put_nowait(reading)

    async def _ask(self, broker: str, bus: Bus) -> None:
        """Publish what keeps the other side talking."""
        asks = [
            (every_s, topic, payload)
            for name, device_map in self._maps.items()
            if self._config.devices[name].broker == broker
            for every_s, topic, payload in device_map.asks()
        ]
        due = [0.0] * len(asks)
        while asks:
            await bus.wait_connected()
            now = time.monotonic()
            for i, (every_s, topic, payload) in enumerate(asks):
                if now >= due[i]:
                    due[i] = now + every_s
                    await bus.publish(topic, payload)
            await asyncio.sleep(max(min(due) - time.monotonic(), LOOK_S))
