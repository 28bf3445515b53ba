"""Settings of the ingest service: section `ingest` of the file, or EMBERWATCH_<FIELD>."""

import re
from typing import ClassVar, Final

from pydantic import Field, field_validator

from services.bus.settings import BusSettings
from services.bus.topics import CLOUD_NODE

_HOST: Final = re.compile(r"\*|(\*\.)?[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


class IngestSettings(BusSettings):
    section: ClassVar[str] = "ingest"

    node: str = Field(CLOUD_NODE, title="Node", description="Name under which the server publishes.")
    database_url: str = Field(
        "postgresql://postgres@127.0.0.1:5432/postgres",
        title="Database",
        description="postgresql://user:password@host:port/database of the store.",
        repr=False,
    )
    http_host: str = Field("127.0.0.1", title="HTTP address", description="Address that the REST interface serves on.")
    http_port: int = Field(8000, ge=1, le=65_535, title="HTTP port", description="TCP port of the REST interface.")
    allowed_hosts: list[str] = Field(
        default_factory=lambda: ["localhost", "127.0.0.1", "[::1]", "ingest"],
        title="Allowed hosts",
        description="Host names under which REST answers, besides `http_host`; `*` = all, behind a proxy that checks.",
    )
    batch_size: int = Field(500, ge=1, le=5000, title="Batch", description="Messages in one transaction, at most.")
    replica: str = Field("", title="Replica", description="Name of this copy when several share the work.")
    share: str = Field("", title="Share", description="MQTT shared subscription group of the copies; empty = one copy.")
    layout_wait_s: float = Field(5.0, ge=0, title="Layout wait", description="A sample waits so long for its layout.")
    quiet_s: float = Field(
        10.0, gt=0, title="Quiet time", description="A stream silent so long has holes at its end, too [s]."
    )
    heal_block: int = Field(500, ge=1, le=10_000, title="Heal block", description="Messages asked for at once.")
    heal_rate: float = Field(2000.0, gt=0, title="Heal rate", description="Messages asked for in a second, at most.")
    heal_timeout_s: float = Field(10.0, gt=0, title="Heal timeout", description="A request without progress ends [s].")
    confirm_s: float = Field(1.0, gt=0, title="Confirm", description="Shortest time between two confirmations [s].")
    confirm_messages: int = Field(1000, ge=1, title="Confirm count", description="So many messages confirm sooner.")
    rollup_s: float = Field(5.0, gt=0, title="Rollup", description="Time between two runs of the rollups [s].")
    quarantine_rows: int = Field(100_000, ge=100, title="Quarantine", description="Newest rows that are kept.")
    command_timeout_s: float = Field(5.0, gt=0, title="Command", description="A node answers a command within it [s].")

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(f"{host!r}: a name, `*.` and a domain, a numeric address, or `*`; without a port")
        return hosts
