"""Named points at which a test can end the process, placed at every commit, rename, send and reply.

Unless a test has armed it, `reach` does nothing. What a name stands for:

    relay.commit.before, .after         around a COMMIT of that database (device, relay, matcher, centre)
    blob.rename.before, .after          around the rename that gives a stored file its name
    setup.rename.before, .after         the same for a set-up's folder on a device
    log.checkpoint.before, .after       around the rename of a log's newest checkpoint
    witness.keep.before, .after         around the rename of what a witness keeps; witness.cosign.before
    setup.adopt.before, .after          around the row that says that a set was checked and is adopted
    device.call.Send.before, .after     around a call that leaves a device
    Relay.Send.reply                    a reply, or one of a stream, is about to be sent
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Handler: TypeAlias = Callable[[str], None]

armed: list[Handler] = []
"""Empty but in tests: where a point is passed often, this is looked at before `reach` is called."""


def reach(name: str) -> None:
    """The point called `name` is reached."""
    for handler in armed:
        handler(name)


def arm(handler: Handler) -> None:
    """Call `handler` with the name of every point that is reached from now on. For tests alone."""
    armed.append(handler)


def disarm() -> None:
    """Do nothing at any point again."""
    armed.clear()
