"""Is a DS18B20's number a temperature? Pure.

After power-on its scratchpad says 85.0 degC until a conversion has ended, and 127.94 degC when the supply broke down in
one, both with a good CRC. Both can be true, and in a battery it is just then that it matters, so they are rejected by
evidence only:

1. A chip of Maxim's own keeps in byte 6 what completes the last four bits of the temperature to 16, and 0x0C at
   power-on (Maxim AN4377; github.com/cpetrich/counterfeit_DS18B20). Most clones hold 0x0C there for ever, so this says
   something only of a probe in which the byte was seen to move.
2. Otherwise its neighbours decide: the value is believed if the probe was near it just before.
"""

from dataclasses import dataclass
from typing import Final

POWER_ON: Final = 0x0550  # 85.0 degC in 1/16
NO_POWER: Final = 0x07FF  # 127.94 degC
REASONS: Final = {POWER_ON: "power_on", NO_POWER: "no_power"}
NEAR_K: Final = 5.0
RISE_PER_S: Final = 2.0  # K/s that it may have moved since: runaways rise by 1 K/s and more
RECENT_S: Final = 30.0
AT_POWER_ON: Final = 0x0C


@dataclass(slots=True)
class PowerOn:
    """Remembers one probe."""

    _counts: bool = False  # byte 6 was seen to move with the temperature
    _last: float | None = None  # degC
    _last_at: float = 0.0

    def away(self) -> None:
        """The probe was not there: what it said before says nothing of what it says next."""
        self._last = None

    def reason(self, raw: int, byte6: int, mono: float) -> str | None:
        """Why this is no temperature, or None.

        Args:
            raw: signed, 1/16 degC.
            byte6: of its scratchpad.
            mono: when it was read [s].
        """
        completes = 0 < byte6 <= 0x10 and (raw + byte6) & 0x0F == 0
        if completes and byte6 != AT_POWER_ON:
            self._counts = True
        if raw in REASONS and not self._believable(raw, completes, mono):
            return REASONS[raw]
        self._last, self._last_at = raw / 16, mono
        return None

    def _believable(self, raw: int, completes: bool, mono: float) -> bool:
        if completes:  # it was measured
            return True
        if self._counts or self._last is None or mono - self._last_at > RECENT_S:
            return False
        return abs(self._last - raw / 16) <= NEAR_K + RISE_PER_S * (mono - self._last_at)
