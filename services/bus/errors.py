"""The errors that Emberwatch raises on purpose. Each names what is wrong and where."""


class EmberwatchError(Exception):
    """Base of every error that Emberwatch raises on purpose."""


class ConfigError(EmberwatchError):
    """A setting, profile, rule or map that cannot be used. A service that meets one does not start."""

    def __init__(self, where: str, key: str, reason: str) -> None:
        super().__init__(f"{where}: {key}: {reason}")
        self.where, self.key, self.reason = where, key, reason


class PayloadError(EmberwatchError):
    """A message that cannot be read: counted, set aside, acknowledged; never stops a service."""

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"{topic}: {reason}")
        self.topic, self.reason = topic, reason


class SourceError(EmberwatchError):
    """A recording or a device that cannot be read. `where` names the file, row or channel."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where, self.reason = where, reason


class JournalError(EmberwatchError):
    """The outbox's files cannot be used: another process holds them, or the folder is read-only."""


class SessionTakenOverError(EmberwatchError):
    """Another process connected under this client id (two installations with one node name). Fatal."""
