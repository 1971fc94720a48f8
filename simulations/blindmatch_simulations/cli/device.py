"""`blindmatch device`: a messenger on the command line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from blindmatch_client.device import Device, Sent
from blindmatch_client.errors import (
    DeviceError,
    ServiceError,
    ServiceUnavailableError,
    StoreError,
    UnreachedError,
)
from blindmatch_client.messages.receiving import Received
from blindmatch_client.settings import Consequence, CoverSchedule, FailureMode
from blindmatch_protocol.codec.errors import BlindmatchError, PictureError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.report import SLOT_SIZES
from blindmatch_server.hosting.authority import AuthorityError, Identity, Kind
from rich.table import Table

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Commands, Found, found, listed
from blindmatch_simulations.cli.console import (
    ERR,
    DeployedDesignOption,
    details,
    table,
)
from blindmatch_simulations.cli.device_outcomes import (
    LiveOutcomes,
    described,
    note_of_earlier,
    notes_of,
    notes_of_keys,
    outcomes_table,
)
from blindmatch_simulations.cli.device_status import (
    NameArgument,
    asked_passphrase,
    complain,
    described_policies,
    fingerprint,
    forgive,
    opened,
    status,
    trust,
    trust_log,
)
from blindmatch_simulations.cli.interrupts import deferred_interrupts
from blindmatch_simulations.testbed.deployment.devices import (
    Options,
    Settings,
    create_or_open_device,
    device_names,
    existing,
    remove_device,
)
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.registry import design_of

GONE: Final = (
    "its keys, its messages, and whatever waits to be sent or reported. The relay keeps the account, with "
    "what waits for it, and gives the name to no other device"
)


def register(
    deployment: Deployment,
    name: NameArgument,
    design: DeployedDesignOption = None,
    mode: Annotated[
        FailureMode, typer.Option(help="What is done with a picture that cannot be matched now.")
    ] = FailureMode.HOLD,
    consequence: Annotated[
        Consequence, typer.Option(help="What follows from a match: a report, a warning, or no delivery.")
    ] = Consequence.REPORT,
    key_file: Annotated[
        Path | None,
        typer.Option(help="Lock the store with this file, made if missing; keep it apart from the device."),
    ] = None,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Lock it with $BLINDMATCH_PASSPHRASE, or ask.")
    ] = False,
    cover_period: Annotated[
        int, typer.Option(min=0, help="Seconds between the slots in which reports leave; 0: at once.")
    ] = 0,
    cover_size: Annotated[int, typer.Option(help="Bytes of a slot.")] = SLOT_SIZES[1],
    take_policies: Annotated[
        bool,
        typer.Option(
            "--take-policies",
            help="Trust the policies of endorsement and log that the deployment has now, not those that the "
            "device has; its keys and messages stay.",
        ),
    ] = False,
) -> Found:
    """Make the device NAME, fetch the encrypted set and publish its pre-keys.

    If that fails nothing is left behind, except where the relay may have the keys already: it gives a name to
    nobody else. The same command goes on then.
    """
    if passphrase and key_file is not None:
        raise typer.BadParameter("give --passphrase or --key-file, not both")
    cover = CoverSchedule(cover_period, cover_size) if cover_period else None
    options = Options(key_file, passphrase, cover, consequence)
    secret = asked_passphrase() if passphrase else None
    reference = _design(deployment, name, design)
    with _leaving_nothing(deployment, name, key_file):
        made = create_or_open_device(deployment, name, reference, mode, options, secret, take_policies)
        with closing(made.device) as device:
            epoch = device.register()
    result = {"account": name, "design": reference, "epoch": epoch, "mode": str(mode)}
    taken = described_policies(Settings.read(deployment, name)) if take_policies else {}
    return found("registered", {**result, "consequence": str(consequence), **taken})


def _design(deployment: Deployment, name: str, asked: str | None) -> str:
    """A device that is there has one, and another is refused only where it is asked for."""
    if asked is None and name in device_names(deployment):
        return Settings.read(deployment, name).design
    return design_of(deployment, asked)


@contextmanager
def _leaving_nothing(deployment: Deployment, name: str, key_file: Path | None) -> Iterator[None]:
    """Remove what a new device that could not be registered has made, unless the relay may have its keys."""
    new = name not in device_names(deployment)
    folder = deployment.device(name)
    before = [*folder.iterdir()] if folder.is_dir() else []
    new_key = key_file if key_file is not None and not key_file.exists() else None
    try:
        yield
    except BlindmatchError as error:
        if new and _may_have_keys(error):
            words = f"device {name} is kept, since the relay may have its keys: the same command goes on"
            ERR.print(words, style="yellow", soft_wrap=True, highlight=False)
        elif new:
            with suppress(StoreError, AuthorityError):
                remove_device(deployment, name, before)
            if new_key is not None:
                new_key.unlink(missing_ok=True)
        raise


def _may_have_keys(error: BlindmatchError) -> bool:
    """May the relay have got the keys, though the call failed?"""
    lost = isinstance(error, ServiceUnavailableError) and not isinstance(error, UnreachedError)
    return lost and isinstance(error, ServiceError) and error.party == Party.PROVIDER


def list_(deployment: Deployment) -> Found:
    """List the devices of this deployment; none is opened, so no passphrase is asked for."""
    held = {name: Settings.read(deployment, name) for name in device_names(deployment)}
    locks = {False: "key file", True: "passphrase"}
    result = [
        {
            "account": name,
            "design": one.design,
            "mode": one.mode,
            "locked_with": locks[one.options.passphrase],
        }
        for name, one in held.items()
    ]
    deployed = design_of(deployment)
    notes = []
    if others := [name for name, one in held.items() if one.design != deployed]:
        words = f"note: the last set was built for {deployed}; made for another design: {', '.join(others)}"
        notes.append(words)
    columns = {"account": "device", "design": "design", "mode": "mode", "locked_with": "locked with"}
    return listed("devices", columns, result, *notes)


def remove(
    deployment: Deployment,
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> Found:
    """Remove the device NAME from this folder; the name cannot be used again at the same relay."""
    existing(deployment, name)
    if not yes:
        try:
            typer.confirm(f"Remove {name}, {GONE}?", abort=True, err=True)
        except typer.Abort:
            ERR.print()
            raise typer.BadParameter(f"{name} stays; --yes removes it without a question") from None
    if deployment.authority.is_dir():
        with suppress(DeploymentError):
            deployment.revoke(Identity(Kind.DEVICE, name), datetime.now(UTC))
    remove_device(deployment, name)
    return found("removed", {"account": name, "removed": True}, {"device": name, "gone": GONE})


app = Commands(no_args_is_help=True)

_ROUND_SECONDS = 1.0
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
) -> Iterator[Found]:
    """Send a text, or pictures with the text; each picture is matched before it leaves.

    What could not leave is kept, for `flush`; the exit code is 7 then, and where a message was not delivered,
    such as one that the device refuses to send.
    """
    if not text and not picture:
        raise typer.BadParameter("give --text, --picture or both")
    group = [Identity(Kind.DEVICE, one.strip()).name for one in dict.fromkeys(to.split(","))]
    if name in group:
        raise DeviceError(f"{name} cannot send to itself; give the name of another device")
    with opened(deployment, name) as device:
        device.ask_what_expired()
        earlier = device.outcomes()
        complaint = ""
        try:
            sent = _send(device, group, picture or [], text)
        except BlindmatchError as error:
            known = {one.number for one in earlier}
            sent = [one for one in device.outcomes() if one.number not in known]
            if not sent:  # nothing was taken
                raise
            complaint = f"error: {' '.join(str(error).split())}"
        notes = [*notes_of_keys(device), *note_of_earlier(earlier, name)]
        # what failed is in the complaint already
        told = [] if complaint else notes_of(sent)
        code = exit_codes.OK if all(one.delivered for one in sent) else exit_codes.UNREACHABLE
        shown: list[Table | str] = [outcomes_table("sent", sent), *told, *notes]
        yield Found([described(one) for one in sent], shown, code, complaint=complaint)
        device.mark_shown(sent)
        device.contacts.mark_news_shown()


def _send(device: Device, group: list[str], pictures: list[Path], text: str) -> list[Sent]:
    if pictures:
        return _send_pictures(device, group, pictures, text)
    if len(group) > 1:
        return device.send_text_to(group, text)
    return [device.send_text(group[0], text)]


@app.command("inbox")
def inbox(
    deployment: Deployment,
    name: NameArgument,
    wait: Annotated[int, typer.Option(min=0, help="Seconds to wait for more.")] = 0,
    save: Annotated[Path | None, typer.Option(help="Write pictures into this folder.")] = None,
) -> Iterator[Found]:
    """Fetch, decrypt and show messages, and what was wrong with those not opened, or not whole."""
    with opened(deployment, name) as device:
        device.receive(wait * 1000)
        messages = device.inbox()
        notes = [*notes_of_keys(device), *note_of_earlier(device.outcomes(), name)]
        if save and (saved := _save(messages, save)):
            notes.append(f"{len(saved)} pictures in {save}")
        result = [
            {
                "sender": one.sender,
                "text": one.text or "-",
                "pictures": len(one.attachments),
                "from_centre": one.from_centre,
                "problem": one.problem,
            }
            for one in messages
        ]
        yield Found(result, (_inbox_table(name, messages), *notes))
        device.contacts.mark_news_shown()


def _inbox_table(name: str, messages: list[Received]) -> Table:
    rows = [
        (
            f"{one.sender} (the centre)" if one.from_centre else one.sender,
            one.text or "-",
            len(one.attachments),
            one.problem or "-",
        )
        for one in messages
    ]
    return table(f"inbox of {name}", ("from", "text", "pictures", "problem"), rows, ("from",))


@app.command("flush")
def flush(deployment: Deployment, name: NameArgument) -> Iterator[Found]:
    """Try again whatever waits on the device (messages, pictures to match, reports) and show what came of it.

    What came of messages earlier and was not shown yet is shown too. The exit code is 7 while something still
    waits, and where a message was not delivered.
    """
    with opened(deployment, name) as device:
        done = device.flush()
        moved = {one.number: one for one in done.messages}
        ended = {one.number: one for one in device.outcomes()}
        sent = [one for _, one in sorted((ended | moved).items())]
        counts = {"messages": len(done.messages), "waiting": done.waiting, "problems": list(done.problems)}
        failed = any(not one.delivered for one in ended.values())
        code = exit_codes.UNREACHABLE if done.waiting or failed else exit_codes.OK
        shown: list[Table | str] = [details(f"flushed {name}", counts)]
        if sent:
            shown += [outcomes_table("sent", sent), *notes_of(sent)]
        shown += notes_of_keys(device)
        yield Found(counts | {"outcomes": [described(one) for one in sent]}, shown, code)
        device.mark_shown(sent)
        device.contacts.mark_news_shown()


for step in (fingerprint, trust, complain, status, forgive, trust_log):
    app.command(step.__name__.replace("_", "-"))(step)


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
) -> Iterator[Found]:
    """Stay connected: receive, try again what waits, renew pre-keys, keep the cover schedule.

    What comes of messages is printed at once. Ctrl-C ends it after its round, of about a second; once
    more ends it at once.
    """
    ends = time.monotonic() + seconds if seconds else float("inf")
    counts = {"received": 0, "slots": 0, "troubles": 0}
    with opened(deployment, name) as device:
        outcomes = LiveOutcomes(device)
        with deferred_interrupts() as is_interrupted:
            while not is_interrupted() and time.monotonic() < ends:
                _round(device, counts, outcomes)
        outcomes.show_new()
        told = [described(one) for one in outcomes.shown.values()]
        yield found(f"{name} ran", counts | {"outcomes": told}, counts)
        outcomes.forget()


def _round(device: Device, counts: dict[str, int], outcomes: LiveOutcomes) -> None:
    """One round of `run`; a server that is away is asked again in the next. It takes a whole number of
    `_ROUND_SECONDS`: what `flush` had to do depends on outcomes, and must not show in its end."""
    begun = time.monotonic()
    try:
        counts["slots"] += device.tick()
        counts["received"] += len(device.receive(int(_ROUND_SECONDS * 500)))
        counts["troubles"] += len(device.flush().problems)
    except ServiceError:
        counts["troubles"] += 1
    outcomes.show_new()
    time.sleep(_ROUND_SECONDS - (time.monotonic() - begun) % _ROUND_SECONDS)


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


def _save(messages: list[Received], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    saved = []
    for number, received in enumerate(messages, 1):
        for at, file in enumerate(received.attachments, 1):
            path = folder / f"{number:04d}-{at}{SUFFIXES.get(file.media_type, '.bin')}"
            file.save(path)
            saved.append(path)
    return saved
