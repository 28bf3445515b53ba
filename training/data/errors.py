"""The error of data that must not be learned from or judged by."""

from pathlib import Path

from services.bus.errors import EmberwatchError


class DataError(EmberwatchError):
    """Data that break a rule.

    Args:
        where: file (or source) in which.
        rule: the rule in a few words.
        reason: what was found instead.
        row: row, window, snippet or key in it.
    """

    def __init__(self, where: Path | str, rule: str, reason: str, row: int | str | None = None) -> None:
        at = "" if row is None else f", {'row ' if isinstance(row, int) else ''}{row}"
        super().__init__(f"{where}{at}: {rule}: {reason}")
        self.where, self.rule, self.reason, self.row = str(where), rule, reason, row
