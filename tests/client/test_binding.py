"""A design may bind a voucher to the message the picture is sent in."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from blindmatch_client.device import OutcomeKind
from blindmatch_proofs.franking import verify_opening
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.contract import UNBOUND, Binding, Party
from blindmatch_protocol.messages import franking
from blindmatch_protocol.messages.sealed_message import SealedMessage
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_simulations.testbed.audit.messages import check_bindings
from blindmatch_simulations.testbed.audit.records import Evidence
from dummy_designs import VOUCHERS, Sealed
from msgspec.structs import replace
from support.fakes import Owned, World, down, hashes_with, picture

LISTED = picture(1)
MakeWorld = Callable[..., World]


def voucher_of(world: World) -> Sealed:
    """The only one at the centre."""
    (envelope,) = world.centre.vouchers
    return Sealed.decode(envelope.body)


def commitments(owned: Owned) -> list[bytes]:
    """Of the messages that a device has handed over, in order."""
    sent = [r for r in owned.recorder.records() if r.method.endswith("/Send")]
    return [SealedMessage.decode(pb.SendRequest.FromString(r.requests[0]).sealed).commitment for r in sent]


def test_a_voucher_is_bound_to_its_message_and_bears_what_shows_it(make_world: MakeWorld) -> None:
    world = make_world(VOUCHERS, hashes_with(LISTED))
    bob = world.device("bob")
    alice = world.device("alice")
    assert alice.device.send_picture("bob", LISTED, "look").outcome is OutcomeKind.VOUCHER
    voucher = voucher_of(world)
    evidence = franking.Evidence.decode(voucher.unveiled)
    assert [voucher.commitment] == commitments(alice)
    assert evidence.opening.commitment == voucher.commitment and b"look" not in voucher.unveiled
    assert verify_opening(evidence) == Passed()
    assert (evidence.sender, evidence.recipient) == ("alice", "bob")
    assert evidence.attachment.digest == sha256(LISTED).digest()
    assert bob.device.receive()[0].pictures == (LISTED,)
    (trace,) = alice.traces
    assert trace.binding.commitment == voucher.commitment and repr(trace.binding).count("evidence") == 0


def test_of_several_messages_that_bear_a_picture_the_first_one_is_bound(make_world: MakeWorld) -> None:
    world = make_world(VOUCHERS, hashes_with(LISTED))
    world.device("bob"), world.device("carol")
    alice = world.device("alice")
    alice.device.send_picture_to(["bob", "carol"], LISTED)
    assert voucher_of(world).commitment == commitments(alice)[0]


def test_a_message_that_waits_keeps_the_commitment_it_was_queued_with(make_world: MakeWorld) -> None:
    world = make_world(VOUCHERS, hashes_with(LISTED))
    bob = world.device("bob")
    alice = world.device("alice")
    world.relay.fail_always(down())
    assert not alice.device.send_picture("bob", LISTED).delivered
    (trace,) = alice.traces
    alice.device.close()
    world.relay.heal()
    again = world.device("alice", fresh=False)
    again.device.flush()
    assert commitments(again) == [voucher_of(world).commitment]
    assert trace.binding.commitment == voucher_of(world).commitment
    assert len(bob.device.receive()) == 1


def test_the_audit_finds_a_session_that_was_bound_to_another_message(make_world: MakeWorld) -> None:
    world = make_world(VOUCHERS, hashes_with(LISTED))
    world.device("bob"), world.device("carol")
    alice = world.device("alice")
    alice.device.send_picture_to(["bob", "carol"], LISTED)
    (honest,) = alice.traces
    other = replace(honest, binding=Binding(bytes([7]) * 32, honest.binding.evidence))
    messages = alice.traced.messages
    for trace, expected in ((honest, []), (replace(honest, binding=UNBOUND), []), (other, [Party.CENTRE])):
        evidence = Evidence("alice", {}, [], [trace], {}, [], messages)
        assert [one.party for one in check_bindings(evidence)] == expected
