"""Commands of a person, checked against what that person saw. Pure."""

from services.alert.machine import Machine, Transition, worse
from services.bus.messages import Acknowledge

_NEED_OCCURRENCE = ("acknowledge", "reset")


def carry_out(command: Acknowledge, machine: Machine, revision: int, now: float) -> list[Transition]:
    """Apply a command to one alarm at wall clock `now` [s since 1970].

    Raises:
        ValueError: refused, with the reason: it names another occurrence, things have got worse since the person
            looked, or the alarm does not allow it.
    """
    _check(command, machine, revision)
    by, reason = command.by, command.reason
    match command.action:
        case "acknowledge":
            return machine.acknowledge(by, reason)
        case "reset":
            return machine.reset(by, reason)
        case "shelve":
            return machine.shelve(command.until.timestamp() if command.until else None, now, by, reason)
        case "unshelve":
            return machine.unshelve(by, reason)
        case "out_of_service":
            return machine.remove_from_service(by, reason)
        case "in_service":
            return machine.return_to_service(by, reason)
        case "drill":
            raise ValueError(f"{command.rule} is no drill")


def _check(command: Acknowledge, machine: Machine, revision: int) -> None:
    if machine.occurrence is None and command.action in _NEED_OCCURRENCE:
        raise ValueError("there is no such alarm")
    if command.occurrence is None and machine.occurrence is not None and command.action in _NEED_OCCURRENCE:
        raise ValueError("the command names no occurrence")
    if command.occurrence is not None and command.occurrence != machine.occurrence:
        raise ValueError(f"the alarm was raised again since; it now is occurrence {machine.occurrence}")
    if command.revision is not None and command.revision > revision:
        raise ValueError(f"revision {command.revision} does not exist yet; it is at {revision}")
    if command.severity is not None and worse(machine.severity, command.severity):
        raise ValueError(f"severity has risen to {machine.severity}")


def expired(command: Acknowledge, now: float) -> bool:
    """Whether the command came too late to be carried out."""
    return command.expires_at is not None and command.expires_at.timestamp() < now
