"""A cheat that is no design: a device that looks at the outcome before it hands the message over."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from blindmatch_client.detector import Undecided
from blindmatch_client.device import Device
from blindmatch_client.outbox import Outgoing
from blindmatch_client.pictures import Pictures
from blindmatch_protocol.picture.item import Picture


class HastyPictures(Pictures):
    """Concludes as soon as the replies are verified."""

    def ask(self, row: Outgoing, item: Picture | None) -> Undecided | None:
        return super().ask(row, item) or self.look(row)


class HastyDevice(Device):
    """The honest device but for that."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._pictures = HastyPictures(*(getattr(self._pictures, one.name) for one in fields(Pictures)))
        self._sender = replace(self._sender, pictures=self._pictures)
