"""Bodies that the provider carries to another party's role: over real gRPC, with all that can go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import Info, KeyLimits, Learner, Party, Role
from blindmatch_protocol.messages.parts import MOST_SMALL_BYTES
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.authority import Identity
from blindmatch_server.hosting.limits import Rate
from blindmatch_server.matching import forwarding
from blindmatch_server.matching.answering import MatchingLimits
from blindmatch_server.matching.forwarding import NO_REPLY, Carrying, Forwarder, check_sender
from blindmatch_server.matching.service import MatchingConfig, open_matching
from blindmatch_server.storage.errors import ForbiddenError, UnavailableError
from msgspec.structs import replace
from support.held_source import HeldSource

from .deployment import ALICE, BOB, Client, Deployment, refused
from .designs_for_tests import ROLE, SECOND, Ask, Dummy, Told

STATUS = grpc.StatusCode
THIRD = Party("third")
SETUP = b"the same for everybody"


class Carried(Dummy):
    """The second role is at the third party, and the provider forwards to it."""

    info: ClassVar[Info] = replace(
        Dummy.info,
        learns=frozenset({Learner.DEVICE}),
        roles={ROLE: Party.MATCHER, SECOND: THIRD},
        forwarded={SECOND: Party.PROVIDER},
    )


class CarriedInParts(Carried):
    info: ClassVar[Info] = replace(Carried.info, large_bodies=True)


def envelope(body: bytes, **changes: Any) -> wire.Envelope:
    values = {"design": "dummy", "version": 3, "epoch": 5, "role": SECOND, "body": body}
    return wire.Envelope(**{**values, **changes})


@dataclass
class World:
    """A carrier and a host, each in its own folder; `port` is where the carrier finds the host."""

    folder: Path
    deployment: Deployment
    design: Dummy
    limits: MatchingLimits
    port: int | None = None

    @asynccontextmanager
    async def server(
        self, party: Party, role: Role | None = None, epoch: int = 5, **options: Any
    ) -> AsyncIterator[int]:
        held = {} if role is None else {role: {"key": b"key of 5"}}
        carrying = None
        if party == Party.PROVIDER:
            own = self.deployment.credentials(Identity.of(party))
            carrying = Carrying(party, lambda host: f"127.0.0.1:{self.port}" if self.port else "", own)
        config = MatchingConfig(
            self.design,
            HeldSource(self.design, epoch, {"setup": SETUP}, held, party=party),
            self.folder / party,
            limits=self.limits,
            carrying=carrying,
        )
        services = partial(open_matching, config)
        async with self.deployment.server(party, services, **options) as port:
            yield port

    def accounts(self, server: str) -> set[str]:
        """Who called a server, as it logs it."""
        return {one["account"] for one in self.deployment.events("call") if one["service"] == server}


@asynccontextmanager
async def world(
    folder: Path, design: Dummy | None = None, host_epoch: int = 5, **limits: Any
) -> AsyncIterator[tuple[World, Client, Client, int]]:
    """The world, alice and bob at the carrier, and the host's port."""
    made = World(folder, Deployment(), design or Carried(), MatchingLimits(**limits))
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(made.server(THIRD, SECOND, host_epoch))
        made.port = host
        port = await stack.enter_async_context(made.server(Party.PROVIDER))
        client = made.deployment.client
        alice = await stack.enter_async_context(client(ALICE, Party.PROVIDER, port))
        bob = await stack.enter_async_context(client(BOB, Party.PROVIDER, port))
        yield made, alice, bob, host


async def test_a_body_reaches_its_role_and_the_host_never_hears_of_the_account(tmp_path: Path) -> None:
    async with world(tmp_path) as (made, alice, bob, _):
        for client, word in ((alice, b"one"), (bob, b"two")):
            reply = await client.one("Matching/Exchange", envelope(Ask(word).encode()))
            assert Told.decode(reply.body).word == b"key of 5 " + word
            assert (reply.design, reply.version, reply.epoch, reply.role) == ("dummy", 3, 5, SECOND)
        assert made.accounts("third") == {"relay"} and made.accounts("relay") == {"alice", "bob"}


async def test_large_bodies_are_carried_in_parts(tmp_path: Path) -> None:
    async with world(tmp_path, CarriedInParts()) as (made, alice, _, _):
        body = Ask(bytes(3 << 20)).encode()
        cuts = [body[at : at + 500_000] for at in range(0, len(body), 500_000)]
        parts = [envelope(cuts[0], body_size=len(body)), *(wire.Envelope(body=cut) for cut in cuts[1:])]
        replies = await alice.all("Matching/ExchangeLarge", parts)
        assert len(Told.decode(b"".join(one.body for one in replies)).word) == 3 << 20
        assert made.accounts("third") == {"relay"}


class CountedByCarrier(Carried):
    def carrier_limits(self, role: Role, setup: bytes) -> KeyLimits | None:
        return KeyLimits(b"carried", 2, per_account=4) if role == SECOND else None


async def test_a_carrier_counts_by_account_what_the_host_never_learns(tmp_path: Path) -> None:
    async with world(tmp_path, CountedByCarrier()) as (made, alice, bob, _):
        for client in (alice, bob):
            for _ in range(2):
                await client.one("Matching/Exchange", envelope(Ask(b"x").encode()))
            code, said, _ = await refused(client.one("Matching/Exchange", envelope(Ask(b"x").encode())))
            assert code == STATUS.RESOURCE_EXHAUSTED and "4 of the 4 evaluations" in said
        assert made.accounts("third") == {"relay"} and len(made.design.batches) == 4


@pytest.mark.parametrize("sender", [ALICE, Identity.of(Party.MATCHER), Identity.of(Party("other"))])
async def test_the_host_takes_bodies_from_the_carrier_alone(tmp_path: Path, sender: Identity) -> None:
    async with (
        world(tmp_path) as (made, _, _, host),
        made.deployment.client(sender, THIRD, host) as direct,
    ):
        code, _, _ = await refused(direct.one("Matching/Exchange", envelope(Ask(b"x").encode())))
        assert code == STATUS.PERMISSION_DENIED


def test_a_carrier_is_one_server_and_not_a_kind_of_them() -> None:
    info = replace(Carried.info, forwarded={SECOND: Party("other")})
    check_sender(info, SECOND, True, Identity.of(Party("other")))
    for sender in (Identity.of(Party.MATCHER), Identity.of(Party.PROVIDER), ALICE, None):
        with pytest.raises(ForbiddenError):
            check_sender(info, SECOND, True, sender)


async def test_a_carrier_forwards_bodies_of_devices_to_roles_it_is_declared_for_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as (made, alice, _, _):
        ask = envelope(Ask(b"x").encode(), role=ROLE)
        code, text, _ = await refused(alice.one("Matching/Exchange", ask))
        assert (code, f"must be one of {SECOND}" in text) == (STATUS.NOT_FOUND, True)
        assert made.accounts("third") == set()


async def test_the_carrier_itself_may_not_be_sent_to_by_another_server(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        made, _, _, _ = await stack.enter_async_context(world(tmp_path))
        port = await stack.enter_async_context(made.server(Party.PROVIDER))
        for party in (Party.PROVIDER, Party.MATCHER):
            opened = made.deployment.client(Identity.of(party), Party.PROVIDER, port)
            other = await stack.enter_async_context(opened)
            code, _, _ = await refused(other.one("Matching/Exchange", envelope(Ask(b"x").encode())))
            assert code == STATUS.PERMISSION_DENIED


async def test_a_request_of_another_epoch_than_the_carriers_reaches_no_role(tmp_path: Path) -> None:
    """Else the one device that holds an epoch would be marked by it."""
    async with world(tmp_path) as (made, alice, _, _):
        code, text, _ = await refused(alice.one("Matching/Exchange", envelope(Ask(b"x").encode(), epoch=4)))
        assert (code, "must be 5, not 4" in text) == (STATUS.FAILED_PRECONDITION, True)
        assert made.accounts("third") == set()


class SpentAtHost(Carried):
    def key_limits(self, role: Role, state: bytes) -> KeyLimits:
        return KeyLimits(b"key", 2, in_all=1)


async def test_whatever_the_host_refuses_the_device_is_told_the_same(tmp_path: Path) -> None:
    """Else a host could tell devices apart by how it refuses them, or have one come again at once."""
    told = set()
    good, bad = (envelope(Ask(word).encode()) for word in (b"x", b"error"))
    async with world(tmp_path / "epoch", host_epoch=6) as (_, alice, _, _):
        told.add(await said(alice, good))
    async with world(tmp_path / "body") as (_, alice, _, _):
        told.add(await said(alice, bad))
    async with world(tmp_path / "spent", SpentAtHost()) as (_, alice, _, _):
        told.add(await said(alice, good))
    async with world(tmp_path / "rate", carried=Rate(0.001, 1)) as (_, alice, bob, _):
        await alice.one("Matching/Exchange", good)
        told.add(await said(bob, good))
    async with world(tmp_path / "down") as (made, alice, _, _):
        made.port = None
        told.add(await said(alice, good))
    assert told == {(STATUS.UNAVAILABLE, f"matching/exchange: {NO_REPLY}", ())}


async def said(client: Client, ask: wire.Envelope) -> tuple[Any, str, tuple[str, ...]]:
    """Status, text and what else a device is told of a refusal but for the id of its own request."""
    code, text, trailing = await refused(client.one("Matching/Exchange", ask))
    return code, text, tuple(sorted(set(trailing) - {"request-id"}))


class InSlots(Carried):
    """Notes the order in which bodies come."""

    def __init__(self) -> None:
        super().__init__()
        self.came = list[bytes]()

    def carrier_slot(self, setup: bytes) -> float:
        return 0.4

    def answer(self, role: Role, state: bytes, requests: Any, *more: Any) -> Any:
        self.came += [one.body.word for one in requests]
        return super().answer(role, state, requests, *more)


async def test_bodies_of_one_slot_go_on_together_in_an_order_of_their_own(tmp_path: Path) -> None:
    design = InSlots()
    orders = set[tuple[bytes, ...]]()
    async with world(tmp_path, design) as (_, alice, bob, _):
        words = [f"{number:02}".encode() for number in range(8)]
        for _ in range(3):
            design.came.clear()
            asked = [
                (alice, bob)[number % 2].one("Matching/Exchange", envelope(Ask(word).encode()))
                for number, word in enumerate(words)
            ]
            replies = await asyncio.gather(*asked)
            assert [Told.decode(one.body).word for one in replies] == [b"key of 5 " + word for word in words]
            orders.add(tuple(design.came))
    assert len(orders) > 1 and {frozenset(one) for one in orders} == {frozenset(words)}


async def test_a_host_that_is_down_is_looked_for_again(tmp_path: Path) -> None:
    async with world(tmp_path) as (made, alice, _, _):
        made.port = None
        ask = envelope(Ask(b"x").encode())
        code, text, _ = await refused(alice.one("Matching/Exchange", ask))
        assert (code, NO_REPLY in text) == (STATUS.UNAVAILABLE, True)
        async with made.server(THIRD, SECOND) as moved:
            made.port = moved
            assert (await alice.one("Matching/Exchange", ask)).body
        code, _, _ = await refused(alice.one("Matching/Exchange", ask))
        assert code == STATUS.UNAVAILABLE


async def test_a_device_is_limited_by_the_carrier_and_the_carrier_by_the_host(tmp_path: Path) -> None:
    limits = {"exchanges": Rate(0.001, 2), "carried": Rate(0.001, 3)}
    async with world(tmp_path, **limits) as (_, alice, bob, _):
        ask = envelope(Ask(b"x").encode())
        for client in (alice, alice, bob):
            await client.one("Matching/Exchange", ask)
        code, _, trailing = await refused(alice.one("Matching/Exchange", ask))
        assert (code, int(trailing["retry-after-ms"]) > 0) == (STATUS.RESOURCE_EXHAUSTED, True)
        code, _, trailing = await refused(bob.one("Matching/Exchange", ask))
        assert (code, "retry-after-ms" in trailing) == (STATUS.UNAVAILABLE, False)


async def test_fields_that_are_none_of_an_envelope_are_not_carried(tmp_path: Path) -> None:
    async with world(tmp_path) as (made, alice, _, _):
        raw = envelope(Ask(b"x").encode()).SerializeToString()
        # field 100, which no version has
        await alice.one("Matching/Exchange", raw + b"\xa2\x06\x05alice")
        (sent,) = [one for one in made.deployment.events("call") if one["service"] == "third"]
        assert sent["bytes_in"] == len(raw)


@pytest.mark.parametrize("lie", [wire.Envelope(body=bytes(MOST_SMALL_BYTES + 1)), wire.Envelope(body_size=7)])
async def test_a_host_has_no_other_status_told_by_what_it_replies(
    monkeypatch: pytest.MonkeyPatch, lie: wire.Envelope
) -> None:
    """A reply that the carrier cannot hand on would be refused by the carrier, as if its epoch were over."""

    class Lying:
        def __init__(self, channel: object) -> None:
            pass

        async def Exchange(self, *given: Any, **more: Any) -> wire.Envelope:
            return lie

    monkeypatch.setattr(forwarding.rpc, "MatchingStub", Lying)
    carrying = Carrying(Party.PROVIDER, lambda host: "127.0.0.1:1", Deployment().credentials(ALICE))
    forwarder = Forwarder(Carried.info, carrying, MatchingLimits(), seeded("order"))
    with pytest.raises(UnavailableError, match=NO_REPLY):
        await forwarder.ask(envelope(b"x"), b"x")
    await forwarder.close()


class Hostile(grpc.GenericRpcHandler):
    """A host that answers every call with what `answer` says, as bytes."""

    def __init__(self, answer: Any, large: bool) -> None:
        kind = "stream_stream" if large else "unary_unary"
        self._method = getattr(grpc, f"{kind}_rpc_method_handler")(answer)

    def service(self, handler_call_details: Any) -> Any:
        return self._method


@asynccontextmanager
async def hostile_host(made: World, answer: Any, large: bool = False) -> AsyncIterator[None]:
    held = made.deployment.credentials(Identity.of(THIRD))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Hostile(answer, large),))
    secured = grpc.ssl_server_credentials([(held.key, held.certificate)], held.root, True)
    made.port = server.add_secure_port("127.0.0.1:0", secured)
    await server.start()
    yield
    await server.stop(0)


async def test_a_host_that_refuses_one_device_breaks_off_no_other_ones_call(tmp_path: Path) -> None:
    """One UNAVAILABLE closed the channel: all that was under way hung until the devices' deadlines."""
    slow = asyncio.Event()
    refuse = asyncio.Event()

    async def answer(raw: bytes, context: Any) -> bytes:
        word = Ask.decode(wire.Envelope.FromString(raw).body).word
        if word == b"refused":
            await context.abort(STATUS.UNAVAILABLE, "")
        refuse.set()
        await slow.wait()
        return envelope(Told(word).encode()).SerializeToString()

    async with world(tmp_path) as (made, alice, bob, _), hostile_host(made, answer):
        under_way = asyncio.ensure_future(alice.one("Matching/Exchange", envelope(Ask(b"slow").encode())))
        await refuse.wait()
        code, _, _ = await said(bob, envelope(Ask(b"refused").encode()))
        slow.set()
        assert code == STATUS.UNAVAILABLE and Told.decode((await under_way).body).word == b"slow"


async def test_what_is_no_message_from_a_host_is_told_as_no_reply(tmp_path: Path) -> None:
    """It was an internal error of the carrier, which a role could give to one device."""

    async def small(raw: bytes, context: Any) -> bytes:
        return b"\xff\xff"

    async def large(raws: Any, context: Any) -> AsyncIterator[bytes]:
        yield b"\xff\xff"

    async def empty(raws: Any, context: Any) -> AsyncIterator[bytes]:
        for none in ():
            yield none

    told = set()
    body = Ask(b"x").encode()
    async with world(tmp_path / "small") as (made, alice, _, _), hostile_host(made, small):
        told.add(await said(alice, envelope(body)))
    for answer in (large, empty):
        design = CarriedInParts()
        folder = tmp_path / answer.__name__
        async with world(folder, design) as (made, alice, _, _), hostile_host(made, answer, large=True):
            parts = [envelope(body, body_size=len(body))]
            code, text, trailing = await refused(alice.all("Matching/ExchangeLarge", parts))
            told.add((code, text, tuple(sorted(set(trailing) - {"request-id"}))))
    assert told == {(STATUS.UNAVAILABLE, f"matching/exchange: {NO_REPLY}", ())}


async def test_a_slot_with_more_bodies_than_the_host_takes_at_once_loses_none(tmp_path: Path) -> None:
    """A carrier has a quarter of a host's places: what went on beyond them was refused."""
    design = InSlots()
    async with (
        world(tmp_path, design, most_carried=4) as (made, alice, bob, _),
        made.server(THIRD, SECOND, most_calls=16) as made.port,
    ):
        words = [f"{number:02}".encode() for number in range(16)]
        asked = [
            (alice, bob)[number % 2].one("Matching/Exchange", envelope(Ask(word).encode()))
            for number, word in enumerate(words)
        ]
        replies = await asyncio.gather(*asked)
        assert [Told.decode(one.body).word for one in replies] == [b"key of 5 " + word for word in words]
