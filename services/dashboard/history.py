"""The REST interface of ingest: what was measured and judged, and the commands of a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Self

import httpx
from pydantic import ValidationError

from services.bus.errors import EmberwatchError
from services.bus.messages import Reply, format_time
from services.dashboard.alarms import AlarmRow
from services.dashboard.settings import DashboardSettings

Resolution = Literal["auto", "raw", "60", "3600"]
PAGES_MAX: Final = 20
SAMPLES_PAGE: Final = 20_000  # rows of raw samples that one look may bring
NARROW: Final = (
    "voltage", "current", "soc", "cell_voltage_max", "cell_voltage_min", "cell_spread", "temperature_max",
    "temperature_min",
)  # fmt: skip


class HistoryError(EmberwatchError):
    """The REST interface cannot be reached, or refuses. `offline`: nobody answers at all."""

    def __init__(self, reason: str, *, offline: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.offline = reason, offline


@dataclass(frozen=True, slots=True)
class Samples:
    """Columns over time. Raw: channels -> list; rollup: channels -> {"min", "max", "mean"} -> list. `ts` in s."""

    resolution_s: int
    ts: list[float]
    channels: dict[str, Any]
    complete: bool  # False: there is more than a look may bring


class History:
    """A client; thread-safe, as httpx.Client is.

    Args:
        transport: instead of the network.
    """

    def __init__(self, settings: DashboardSettings, transport: httpx.BaseTransport | None = None) -> None:
        self.url = settings.api_url
        self._timeout_s = settings.api_timeout_s
        self._client = httpx.Client(base_url=self.url, timeout=settings.api_timeout_s, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    # --- what was ---------------------------------------------------------------------------------------------------

    def devices(self) -> list[dict[str, Any]]:
        return self._list("/api/v1/devices")

    def span(self, node: str, device: str) -> tuple[datetime, datetime] | None:
        """First and last sample of a device; None = there is none."""
        for item in self.devices():
            if (item["node"], item["device"]) == (node, device) and item["first_ts"] and item["last_ts"]:
                return datetime.fromisoformat(item["first_ts"]), datetime.fromisoformat(item["last_ts"])
        return None

    def streams(self, node: str | None = None) -> list[dict[str, Any]]:
        """Every stream of every process start: received, missing, lost."""
        return self._list("/api/v1/streams", {"node": node, "limit": 200})

    def quarantine(self) -> list[dict[str, Any]]:
        """The newest messages that could not be read or did not fit."""
        return self._list("/api/v1/quarantine", {"limit": 20})

    def samples(
        self, node: str, device: str, start: datetime, to: datetime, resolution: Resolution, profile: str = "battery"
    ) -> Samples:
        """A device's scalar channels in a span of time."""
        known = {c["name"] for item in self.devices() if (item["node"], item["device"]) == (node, device)
                 for layout in item["layouts"] if layout["profile"] == profile
                 for c in layout["channels"] if c.get("length") is None}  # fmt: skip
        narrow = [name for name in NARROW if name in known] or sorted(known)
        page = self._object(
            f"/api/v1/devices/{node}/{device}/samples",
            {
                "profile": profile,
                "from": format_time(start),
                "to": format_time(to),
                "resolution": resolution,
                "channels": ",".join(narrow),
                "limit": SAMPLES_PAGE,
            },
        )
        ts = [datetime.fromisoformat(t).timestamp() for t in page["ts"]]
        return Samples(page["resolution_s"], ts, page["channels"], page["next"] is None)

    def scores(self, node: str, device: str, start: datetime, to: datetime) -> list[dict[str, Any]]:
        """Scores of all models, oldest first."""
        span = {"from": format_time(start), "to": format_time(to), "limit": 10_000}
        return self._items(f"/api/v1/devices/{node}/{device}/scores", span, pages=2)

    def events(self, node: str, device: str, start: datetime, to: datetime) -> list[dict[str, Any]]:
        """What happened to a device's alarms, newest first."""
        span = {"node": node, "device": device, "from": format_time(start), "to": format_time(to), "limit": 1000}
        return self._items("/api/v1/alarms/history", span)[::-1]

    # --- commands ---------------------------------------------------------------------------------------------------

    def command(self, action: Literal["acknowledge", "reset"], row: AlarmRow, by: str) -> Reply:
        """Acknowledge or reset what the person saw. The node answers `done`, `refused` or `failed` with its reason.

        Raises:
            HistoryError: no answer; nothing is known of the command.
        """
        seen = {
            "by": by,
            "occurrence": row.alarm.occurrence,
            "revision": row.revision,
            "severity": row.alarm.severity,
            "channel": row.channel,
        }
        answer = self._ask("POST", f"/api/v1/alarms/{row.node}/{row.device}/{row.rule}/{action}", json=seen)
        try:
            return Reply.model_validate(answer)
        except ValidationError:
            raise HistoryError(f"{self.url} answered the command in a form that is not known here") from None

    # --- the wire ---------------------------------------------------------------------------------------------------

    def _items(self, path: str, query: dict[str, Any], pages: int = PAGES_MAX) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for _ in range(pages):
            page = self._object(path, query)
            found += page["items"]
            if page["next"] is None:
                break
            query = query | {"after": page["next"]}
        return found

    def _list(self, path: str, query: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        return self._checked(self._ask("GET", path, params=query), list, path)  # type: ignore[no-any-return]

    def _object(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        return self._checked(self._ask("GET", path, params=query), dict, path)  # type: ignore[no-any-return]

    def _checked(self, answer: Any, kind: type, path: str) -> Any:
        if not isinstance(answer, kind):
            raise HistoryError(f"{self.url}{path} answered in a form that is not known here")
        return answer

    def _ask(self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None) -> Any:
        wanted = {k: v for k, v in (params or {}).items() if v is not None}
        try:
            response = self._client.request(method, path, params=wanted, json=json)
        except httpx.TimeoutException:
            raise HistoryError(f"{self.url} does not answer within {self._timeout_s:g} s", offline=True) from None
        except httpx.HTTPError as error:
            raise HistoryError(f"{self.url} cannot be reached: {error}", offline=True) from None
        try:
            body = response.json()
        except ValueError:
            raise HistoryError(f"{self.url}{path}: status {response.status_code}, and no JSON") from None
        if response.is_error:
            raise HistoryError(_reason(body) or f"{self.url}{path}: status {response.status_code}")
        return body


def _reason(body: Any) -> str:
    """FastAPI's `detail`: a text, or a list of problems with places."""
    detail = body.get("detail") if isinstance(body, dict) else None
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        where = ".".join(str(part) for part in detail[0].get("loc", ()))
        return f"{where}: {detail[0].get('msg', '')}"
    return detail if isinstance(detail, str) else ""
