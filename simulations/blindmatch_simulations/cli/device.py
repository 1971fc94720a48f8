"""`blindmatch device`: a messenger on the command line."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_client.device import Device, Sent
from blindmatch_client.errors import DeviceError, ServiceError
from blindmatch_client.messages.receiving import Received
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_server.hosting.authority import Identity, Kind
from rich.table import Table

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Commands, Found, found
from blindmatch_simulations.cli.console import table
from blindmatch_simulations.cli.device_register import list_, register, remove
from blindmatch_simulations.cli.device_status import (
    NameArgument,
    complain,
    fingerprint,
    forgive,
    opened,
    status,
    trust,
    trust_log,
)
from blindmatch_simulations.testbed.deployment.folder import Deployment

app = Commands(no_args_is_help=True)

_ROUND_SECONDS = 1.0
SENT = ("to", "message", "delivered", "outcome", "report")
SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif"}


app.command("register")(register)
app.command("list")(list_)
app.command("remove")(remove)


@app.command("send")
def send(
    deployment: Deployment,
    name: NameArgument,
    to: Annotated[str, typer.Argument(help="The recipient, e.g. bob, or several: bob,carol.")],
    text: Annotated[str, typer.Option(help="The message's text.")] = "",
    picture: Annotated[list[Path] | None, typer.Option(help="A picture; may be given again.")] = None,
) -> Found:
    """Send a text, or pictures with the text; each picture is matched before it leaves.

    What could not leave is kept, for `flush`; the exit code is 7 then, and where the device refuses to send.
    """
    if not text and not picture:
        raise typer.BadParameter("give --text, --picture or both")
    group = _recipients(name, to)
    with opened(deployment, name) as device:
        if picture:
            sent = _send_pictures(device, group, picture, text)
        else:
            sent = device.send_text_to(group, text) if len(group) > 1 else [device.send_text(group[0], text)]
        news = device.contacts.news()
    told = [*zip(cycle(group), sent, strict=False)]
    made = table("sent", SENT, [(to, *_row(one)) for to, one in told])
    notices = (*dict.fromkeys(one.notice for one in sent if one.notice), *news)
    notes = [f"note: {notice}" for notice in notices]
    code = exit_codes.OK if all(one.delivered for one in sent) else exit_codes.UNREACHABLE
    return Found([{"to": to} | _described(one) for to, one in told], (made, *notes), code)


@app.command("inbox")
def inbox(
    deployment: Deployment,
    name: NameArgument,
    wait: Annotated[int, typer.Option(min=0, help="Seconds to wait for more.")] = 0,
    save: Annotated[Path | None, typer.Option(help="Write pictures into this folder.")] = None,
) -> Found:
    """Fetch, decrypt and show messages."""
    with opened(deployment, name) as device:
        device.receive(wait * 1000)
        messages, news = device.inbox(), device.contacts.news()
    rows = [(m.sender, m.text or "-", len(m.attachments)) for m in messages]
    official = [m.from_centre for m in messages]
    drawn = [(f"{s} (the centre)" if one else s, t, p) for one, (s, t, p) in zip(official, rows, strict=True)]
    shown: list[Table | str] = [
        table(f"inbox of {name}", ("from", "text", "pictures"), drawn),
        *(f"note: {note}" for note in news),
    ]
    if save and (saved := _save(messages, save)):
        shown.append(f"{len(saved)} pictures in {save}")
    told = zip(official, rows, strict=True)
    return Found(
        [{"sender": s, "text": t, "pictures": p, "from_centre": one} for one, (s, t, p) in told], shown
    )


@app.command("flush")
def flush(deployment: Deployment, name: NameArgument) -> Found:
    """Try again whatever waits on the device: messages, pictures to be matched, reports.

    The exit code is 7 while something still waits.
    """
    with opened(deployment, name) as device:
        done = device.flush()
    result = {"messages": len(done.messages), "waiting": done.waiting, "problems": list(done.problems)}
    code = exit_codes.UNREACHABLE if done.waiting else exit_codes.OK
    return found(f"flushed {name}", result, code=code)


app.command("fingerprint")(fingerprint)
app.command("trust")(trust)
app.command("complain")(complain)
app.command("status")(status)
app.command("forgive")(forgive)
app.command("trust-log")(trust_log)


@app.command("reset")
def reset(
    deployment: Deployment,
    name: NameArgument,
    peer: Annotated[str, typer.Argument(help="Whose sessions end, e.g. bob.")],
) -> Found:
    """End all sessions with PEER, such as when messages cannot be opened; the next message starts one."""
    with opened(deployment, name) as device:
        result = {"peer": peer, "had_session": device.reset_session(peer)}
    return found(f"sessions of {name}", result)


@app.command("run")
def run(
    deployment: Deployment,
    name: NameArgument,
    seconds: Annotated[float, typer.Option(min=0, help="How long; 0: until interrupted.")] = 0.0,
) -> Found:
    """Stay connected: receive, try again what waits, renew pre-keys, keep the cover schedule."""
    ends = time.monotonic() + seconds if seconds else float("inf")
    counts = {"received": 0, "slots": 0, "troubles": 0}
    with opened(deployment, name) as device, suppress(KeyboardInterrupt):
        while time.monotonic() < ends:
            _round(device, counts)
    return found(f"{name} ran", counts)


def _round(device: Device, counts: dict[str, int]) -> None:
    """One round of `run`; a server that is away is asked again in the next.

    It takes a whole number of `_ROUND_SECONDS`, so that when the next begins tells the relay little of what
    `flush` had to do, which depends on outcomes.
    """
    begun = time.monotonic()
    try:
        counts["slots"] += device.tick()
        counts["received"] += len(device.receive(int(_ROUND_SECONDS * 500)))
        counts["troubles"] += len(device.flush().problems)
    except ServiceError:
        counts["troubles"] += 1
    time.sleep(_ROUND_SECONDS - (time.monotonic() - begun) % _ROUND_SECONDS)


def _recipients(name: str, to: str) -> list[str]:
    """Each of them once.

    Raises:
        AuthorityError: if one breaks the rule for names.
        DeviceError: if one is the sender.
    """
    group = [Identity(Kind.DEVICE, one.strip()).name for one in dict.fromkeys(to.split(","))]
    if name in group:
        raise DeviceError(f"{name} cannot send to itself; give the name of another device")
    return group


def _send_pictures(device: Device, group: list[str], paths: list[Path], text: str) -> list[Sent]:
    for path in paths:
        try:
            path.open("rb").close()
        except OSError as error:
            raise PictureError(f"{path}: {error.strerror}") from error
    single = len(group) == len(paths) == 1
    try:
        if single:
            return [device.send_file(group[0], paths[0], text)]
        return device.send_files(group, paths, text)
    except PictureError as error:
        where = f"{paths[0]}: " if single else ""
        raise PictureError(f"{where}{error}; nothing was sent") from error


def _row(sent: Sent) -> tuple[object, ...]:
    report = "-" if sent.report_id is None else "received" if sent.reported else "waiting"
    return sent.message_id.hex(), "yes" if sent.delivered else "no", str(sent.outcome), report


def _described(sent: Sent) -> dict[str, Any]:
    return {
        "message_id": sent.message_id.hex(),
        "delivered": sent.delivered,
        "outcome": str(sent.outcome),
        "report_id": sent.report_id.hex() if sent.report_id else None,
        "reported": sent.reported,
        "notice": sent.notice,
    }


def _save(messages: list[Received], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    saved = []
    for number, received in enumerate(messages, 1):
        for at, file in enumerate(received.attachments, 1):
            path = folder / f"{number:04d}-{at}{SUFFIXES.get(file.media_type, '.bin')}"
            file.save(path)
            saved.append(path)
    return saved
