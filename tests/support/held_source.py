"""An epoch whose files are in memory, for matchers of tests."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Buffers, Party, Role
from blindmatch_server.matching.epochs import OpenEpoch, SetupFile, carried_limits
from msgspec import Struct


class HeldSource(Redacted, Struct, frozen=True):
    """An `EpochSource` of one epoch; `manifest` is signed if devices are to adopt it, and
    `party` is whose."""

    design: AnyDesign
    epoch: int
    setup: Buffers
    roles: Mapping[Role, Buffers]
    manifest: bytes = b""
    party: Party = Party.MATCHER

    def version(self) -> Hashable:
        return self.epoch

    def open(self) -> OpenEpoch:
        design = self.design
        states = {r: design.open_role(r, {**self.setup, **files}) for r, files in self.roles.items()}
        setup = {name: SetupFile(data, hashlib.sha256(data).digest()) for name, data in self.setup.items()}
        opened = (
            design.open_setup(self.setup, self.epoch) if design.enrolments or design.info.forwarded else None
        )
        key = b"" if opened is None else design.enrolment_key(opened)
        openers = {r: partial(_role, r, {**self.setup, **files}) for r, files in self.roles.items()}
        carried = carried_limits(design, self.party, opened)
        return OpenEpoch(
            self.epoch, setup, states, self.manifest, enrolment_key=key, openers=openers, carried=carried,
            slot_seconds=design.carrier_slot(opened),
        )  # fmt: skip


def _role(role: Role, files: Buffers, design: AnyDesign) -> Any:
    return design.open_role(role, files)
