"""Weakened builds of threshold-psi: each leaves out one thing, and so lets one attack succeed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.designs.threshold_psi import ThresholdPsi, design, opener
from blindmatch_protocol.designs.threshold_psi.opener import ThresholdOpener
from blindmatch_protocol.designs.threshold_psi.shares import DeviceShares, Share
from blindmatch_protocol.designs.threshold_psi.table import Domain
from msgspec.structs import replace

from planted import Planted


class SameCoins(ThresholdPsi):
    """Uses one b and c for all vouchers."""

    def start(self, state: Any, setup: Any, item: Any, binding: bm.Binding, rng: Randomness) -> Any:
        return super().start(state, setup, item, binding, seeded("always the same"))


class PlacesDrawn(DeviceShares, frozen=True):
    """Draws a new place for a share whenever it is asked."""

    rng: Randomness

    def derive(self, own_hash: bytes) -> tuple[Share, Share, bytes]:
        return super().derive(self.rng.take(32))


class RandomPlaces(ThresholdPsi):
    """A picture sent again counts again."""

    def start(self, state: Any, setup: Any, item: Any, binding: bm.Binding, rng: Randomness) -> Any:
        more = seeded(rng.take(8).hex())
        with patch.object(design, "DeviceShares", lambda *given: PlacesDrawn(*given, more)):
            return super().start(state, setup, item, binding, rng)


class ForAllPeriods(ThresholdPsi):
    """Derives shares without the period."""

    def _shares(self, state: Any, setup: Any) -> DeviceShares:
        return replace(super()._shares(state, setup), period=bytes(32))


class OneSetOfShares(ThresholdOpener, frozen=True, eq=False):
    """Puts shares of all devices of an account together."""

    def take(self, account: str, device: str, period: bytes, voucher: Any) -> bm.Taken:
        taken = super().take(account, device, period, voucher)
        return bm.Visible(bytes(32) + taken.row[32:]) if isinstance(taken, bm.Visible) else taken


class Complains(ThresholdOpener, frozen=True, eq=False):
    """Says that a share is malformed, and so that its voucher opened."""

    def take(self, account: str, device: str, period: bytes, voucher: Any) -> bm.Taken:
        def decode(raw: bytes) -> Share:
            share = Share.decode(raw)
            if share is None:
                raise ProtocolError("threshold-psi/voucher", "must be a share", "sealed")
            return share

        with patch.object(opener, "Share", SimpleNamespace(decode=decode)):
            return super().take(account, device, period, voucher)


class TakesAnyEvidence(ThresholdOpener, frozen=True, eq=False):
    """Does not ask whose messages the evidence is of."""

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, bm.Label]:
        with patch.object(opener, "_is_of", lambda evidence, account: True):
            return super().open(account, period, rows)


class DropsOne(ThresholdOpener, frozen=True, eq=False):
    """Leaves out one match."""

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, bm.Label]:
        return dict(list(super().open(account, period, rows).items())[1:])


class OneFewer(ThresholdOpener, frozen=True, eq=False):
    """Opens with one match fewer than it says."""

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, bm.Label]:
        sooner = ThresholdOpener(self.epoch, self.period, self.threshold - 1, self.key, self.known)
        return sooner.open(account, period, rows)


def opening(kind: type[ThresholdOpener], base: type[ThresholdPsi] = ThresholdPsi) -> ThresholdPsi:
    """A design with another opener; devices agree with one that opens sooner."""

    class Weakened(base):  # type: ignore[misc, valid-type]
        opener = kind

        def _shares(self, state: Any, setup: Any) -> DeviceShares:
            found = super()._shares(state, setup)
            return replace(found, threshold=found.threshold - (kind is OneFewer))

    return Weakened()


class SkipsReal(ThresholdPsi):
    """Computes a real voucher only where it is taken."""

    def start(self, state: Any, setup: Any, item: Any, binding: bm.Binding, rng: Randomness) -> Any:
        shares = self._shares(state, setup)
        if not shares.is_synthetic(item.hash, setup.parameters["synthetic"]):
            return super().start(state, setup, item, binding, rng)
        scalar = group.random_scalars(1, rng)
        made = group.multiply_base(scalar).tobytes(), group.multiply(scalar, setup.public).tobytes()
        share = shares.derive(item.hash)[1].encode()
        content = bytes(1634)
        under = share, rng.take(32), content
        voucher = opener.sealed_voucher(setup.epoch, setup.period, shares.name, made, *under)
        return bm.Started(state, bm.Done(bm.Voucher(voucher)))


CHEATS = (
    Planted("one match fewer than declared", lambda: opening(OneFewer), "outcomes", "open"),
    Planted("a match that is left out", lambda: opening(DropsOne), "outcomes", "open"),
)


@contextmanager
def unbound() -> Iterator[None]:
    """Seals that are bound to nothing but Q."""
    bound_to = opener.bound_to
    nothing = 0, bytes(32), bytes(16)
    with patch.object(opener, "bound_to", lambda *given: bound_to(*nothing, given[-1])):
        yield


@contextmanager
def one_domain() -> Iterator[None]:
    """Tables of all epochs hash to the group alike."""
    uniform = Domain.uniform
    same = Domain(1, bytes(32), 0)
    with patch.object(Domain, "uniform", lambda domain, hashes: uniform(same, hashes)):
        yield
