"""How commands of a device show what came of messages, and when the device may forget it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from blindmatch_client.device import Device, Sent
from rich.table import Table

from blindmatch_simulations.cli.commands import asks_for_json, people
from blindmatch_simulations.cli.console import say, several, table

SENT: Final = ("to", "message", "delivered", "outcome", "report")


def outcomes_table(title: str, sent: Sequence[Sent]) -> Table:
    return table(title, SENT, [_row(one) for one in sent])


def notes_of(sent: Iterable[Sent]) -> list[str]:
    """Return what the user must be told of these messages, each sentence once."""
    return [f"note: {notice}" for notice in dict.fromkeys(one.notice for one in sent if one.notice)]


def notes_of_keys(device: Device) -> list[str]:
    """Return what the user must be told of other accounts' keys."""
    return [f"note: {notice}" for notice in device.contacts.list_news()]


def note_of_earlier(earlier: Sequence[Sent], name: str) -> list[str]:
    """Return a line that says where outcomes are shown that no command has shown yet."""
    if not earlier:
        return []
    held = several(len(earlier), "earlier message")
    return [f"note: What came of {held} was not shown yet: blindmatch device flush {name} shows it."]


def not_shown_yet(ended: Sequence[Sent], name: str) -> list[Table | str]:
    """Return what came of messages for a command that only looks: the device goes on keeping it."""
    if not ended:
        return []
    later = f"note: blindmatch device flush {name} shows this once more, and the device forgets it."
    return [outcomes_table("what came of messages", ended), *notes_of(ended), later]


def described(sent: Sent) -> dict[str, Any]:
    return {
        "to": sent.recipient,
        "message_id": sent.message_id.hex(),
        "delivered": sent.delivered,
        "outcome": str(sent.outcome),
        "report_id": sent.report_id.hex() if sent.report_id else None,
        "reported": sent.reported,
        "notice": sent.notice,
    }


class LiveOutcomes:
    """Shows what came of messages, and what there is to be told of keys, while a command runs.

    Each is printed at once. The device forgets it then, unless the command also writes JSON: that is written
    at its end, so that nothing is forgotten before.
    """

    def __init__(self, device: Device) -> None:
        self.shown: dict[int, Sent] = {}
        """What was printed and is not forgotten yet, by number."""
        self._device = device

    def show_new(self) -> None:
        new = [one for one in self._device.outcomes() if one.number not in self.shown]
        for one in new:
            say(_line(one), people())
            for note in notes_of([one]):
                say(note, people())
        self.shown |= {one.number: one for one in new}
        for note in notes_of_keys(self._device):
            say(note, people())
        people().file.flush()
        self._device.contacts.mark_news_shown()
        if not asks_for_json():
            self.forget()

    def forget(self) -> None:
        """Let the device forget what was shown."""
        self._device.mark_shown(self.shown.values())
        self.shown.clear()


def _line(sent: Sent) -> str:
    return ", ".join(f"{name}: {cell}" for name, cell in zip(SENT, _row(sent), strict=True))


def _row(sent: Sent) -> tuple[str, ...]:
    report = "-" if sent.report_id is None else "received" if sent.reported else "waiting"
    reached = "yes" if sent.delivered else "no"
    return sent.recipient, sent.message_id.hex(), reached, str(sent.outcome), report
