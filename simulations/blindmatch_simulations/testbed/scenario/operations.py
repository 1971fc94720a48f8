"""What can be done in a world, as data: a closed union, which JSON holds as objects with the key `do`."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from blindmatch_client.settings import Consequence, FailureMode
from blindmatch_protocol.codec.errors import BlindmatchError

Natural: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]


class ScenarioError(BlindmatchError):
    """An operation cannot be done in this world, or a bound was reached."""


class _Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    """Frozen, strict, and named in JSON."""


class Publish(_Operation, frozen=True, tag="publish"):
    """Publish the next epoch, of `random` random hashes and those of the `listed` picture files, which the
    centre is taught. Servers that run are stopped and started, so that they serve it at once."""

    listed: tuple[bytes, ...] = ()
    random: Natural = 20
    values: dict[str, int] = {}
    seed: Natural = 1


class Start(_Operation, frozen=True, tag="start"):
    """Start servers by name, by default all that do not run."""

    servers: tuple[str, ...] = ()


class Stop(_Operation, frozen=True, tag="stop"):
    """Stop all servers; they finish their calls first."""


class Kill(_Operation, frozen=True, tag="kill"):
    """End a server's process as a power failure does; only where servers are processes."""

    server: str


class AddDevice(_Operation, frozen=True, tag="add device"):
    """Make a device and register it.

    Attributes:
        mode: what it does with a picture that cannot be matched: hold, send_and_match_later, send_unmatched.
        slot_s: seconds between the slots that its reports leave in; None: reports leave at once.
        slot_bytes: size of a slot; None: the usual one.
        consequence: what follows from a match: report, warn, refuse.
    """

    account: str
    mode: FailureMode = FailureMode.HOLD
    slot_s: int | None = None
    slot_bytes: int | None = None
    consequence: Consequence = Consequence.REPORT


class SendText(_Operation, frozen=True, tag="send text"):
    sender: str
    recipient: str
    text: str


class SendPicture(_Operation, frozen=True, tag="send picture"):
    """Send a picture's file."""

    sender: str
    recipient: str
    picture: bytes
    text: str = ""


class Receive(_Operation, frozen=True, tag="receive"):
    """Receive until there are so many messages, or the time is up."""

    account: str
    messages: int
    seconds: Seconds = 60.0


class Tick(_Operation, frozen=True, tag="tick"):
    """Do what a device's schedule says is due now."""

    account: str


class Flush(_Operation, frozen=True, tag="flush"):
    """Hand over what waits on a device."""

    account: str


class AwaitReports(_Operation, frozen=True, tag="await reports"):
    """Keep all schedules until the centre has every report of a device, or the time is up."""

    account: str
    seconds: Seconds = 1800.0


class Check(_Operation, frozen=True, tag="check"):
    """Wait until the centre has checked every report, at least so many, or the time is up."""

    reports: int = 0
    seconds: Seconds = 60.0


class Decide(_Operation, frozen=True, tag="decide"):
    """A person at the centre decides on a report.

    Attributes:
        state: where it goes: confirmed, unfounded, forwarded, removal asked, closed.
        report: its id, 32 hex digits; empty: every report that was checked and not decided yet.
    """

    state: str
    reason: str
    report: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{32})?$")] = ""
    authority: str = ""


Operation: TypeAlias = (
    Publish
    | Start
    | Stop
    | Kill
    | AddDevice
    | SendText
    | SendPicture
    | Receive
    | Tick
    | Flush
    | AwaitReports
    | Check
    | Decide
)


def account_of(operation: Operation) -> str | None:
    """Whose device is told to do it; None if no device is."""
    return getattr(operation, "sender", getattr(operation, "account", None))


def checked(operation: object) -> Operation:
    """An operation, whose fields are as they are declared; raises `ScenarioError` if it is none."""
    try:
        held = msgspec.to_builtins(operation, builtin_types=(bytes,))
        return msgspec.convert(held, Operation, builtin_types=(bytes,))  # type: ignore[no-any-return]
    except (msgspec.ValidationError, TypeError) as error:
        name = type(operation).__name__
        raise ScenarioError(f"{name} is no operation: {error}") from error
