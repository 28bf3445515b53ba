"""Settings of the alert service: section `alert` of the file, `EMBERWATCH_` variables."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from services.alert.outputs.settings import BluetoothSettings, ButtonSettings, BuzzerSettings, LampSettings, LcdSettings
from services.bus.settings import ROOT, BusSettings
from services.bus.topics import CLOUD_NODE, NODE_DEVICE, topic_filter


class AlertSettings(BusSettings):
    """On the edge it judges the node's devices; in the cloud it watches over the nodes."""

    section: ClassVar[str] = "alert"

    role: Literal["edge", "cloud"] = Field("edge", title="Role", description="`edge` on a node, `cloud` on the server.")
    rules: list[Path] = Field(
        default_factory=list,
        title="Rule files",
        description="Default: battery.yaml, host.yaml and node.yaml of rules/ on the edge, cloud.yaml in the cloud.",
    )
    display_file: Path | None = Field(
        None,
        title="Display file",
        description="The display as text, written each second (default: lcd.txt in the data folder). "
        "On a Pi put it in memory, /run/emberwatch/lcd.txt: the SD card wears.",
    )
    lcd: LcdSettings | None = Field(None, title="Display", description="Character display on I2C: bus, address, ..")
    lamp: LampSettings | None = Field(None, title="Lamp", description="GPIO numbers of green, amber, red.")
    buzzer: BuzzerSettings | None = Field(None, title="Buzzer", description="GPIO number of an active buzzer.")
    button: ButtonSettings | None = Field(None, title="Button", description="GPIO number of the button.")
    gpio_chip: int | None = Field(None, ge=0, title="GPIO chip", description="/dev/gpiochipN; default: the Pi's own.")
    bluetooth: BluetoothSettings | None = Field(None, title="Bluetooth", description="Phones and Home Assistant.")
    state_s: float = Field(10.0, gt=0, title="State", description="Longest time between two savings of the state [s].")

    @model_validator(mode="after")
    def _pins_differ(self) -> Self:
        pins = [
            (f"{name}.{key}", pin)
            for name, part in (("lamp", self.lamp), ("buzzer", self.buzzer), ("button", self.button))
            if part is not None
            for key, pin in part.pins().items()
        ]
        for i, (name, pin) in enumerate(pins):
            for other, same in pins[:i]:
                if pin == same:
                    raise ValueError(f"{other} and {name} are both GPIO {pin}")
        return self

    @property
    def rule_files(self) -> list[Path]:
        shipped = ("battery.yaml", "host.yaml", "node.yaml") if self.role == "edge" else ("cloud.yaml",)
        return self.rules or [ROOT / "rules" / name for name in shipped]

    @property
    def own_node(self) -> str:
        """Under whose name alarms are published."""
        return self.node if self.role == "edge" else CLOUD_NODE

    @property
    def filters(self) -> list[str]:
        """What the service subscribes to."""
        commands = [topic_filter(node=self.own_node, kind="command", name="alert")]
        if self.role == "cloud":
            return [topic_filter(kind="status"), *commands]
        kinds = ("telemetry", "estimate", "score", "layout", "status", "journal", "backfill")
        drill = topic_filter(node=self.own_node, device=NODE_DEVICE, kind="alarm", name="drill")
        return [topic_filter(node=self.own_node, kind=kind) for kind in kinds] + [*commands, drill]
