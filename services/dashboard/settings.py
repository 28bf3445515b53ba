"""Settings of the dashboard: section `dashboard` of the file, or EMBERWATCH_<FIELD>."""

from typing import ClassVar

from pydantic import Field, field_validator

from services.bus.settings import BusSettings
from services.bus.topics import CLOUD_NODE


class DashboardSettings(BusSettings):
    """The cloud broker for what is live, the REST interface for what was and for commands, and where to serve."""

    section: ClassVar[str] = "dashboard"

    node: str = Field(CLOUD_NODE, title="Node", description="Name under which the dashboard publishes its status.")
    session_expiry_s: int = Field(0, ge=0, title="Session expiry", description="A viewer needs no queue when away [s].")
    api_url: str = Field("http://127.0.0.1:8000", title="REST interface", description="Where ingest serves /api/v1.")
    api_timeout_s: float = Field(8.0, gt=0, title="REST timeout", description="Longest wait for an answer [s].")
    http_host: str = Field("127.0.0.1", title="HTTP address", description="Address that the page is served on.")
    http_port: int = Field(8501, ge=1, le=65_535, title="HTTP port", description="TCP port of the page.")
    live_samples: int = Field(
        7200, ge=60, le=100_000, title="Live samples", description="Newest samples a device that are kept to be drawn."
    )

    @field_validator("api_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("expected http://host:port or https://host:port")
        return value.rstrip("/")
