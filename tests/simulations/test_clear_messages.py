"""Without end-to-end encryption the provider reads and reports; with it nothing ever leaves in the clear."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from blindmatch_client.egress import Egress
from blindmatch_client.messages.relay import RelayClient
from blindmatch_client.settings import MESSAGE, OF_E2EE, list_device_facts
from blindmatch_client.trace import EgressRecord, MessageTrace
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.designs import hash_upload, provider_scan
from blindmatch_protocol.messages.content import ClearMessage, clear_message, compose
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_simulations.evaluation.attacks.arena import Arena
from blindmatch_simulations.evaluation.attacks.loopback import drawn, loopback
from blindmatch_simulations.testbed.audit.messages import check_messages
from blindmatch_simulations.testbed.audit.records import SEND
from blindmatch_simulations.testbed.deployment.hosting import STATE
from blindmatch_simulations.testbed.deployment.operators import centre_list
from msgspec.structs import replace

TEXT = "words that anybody could read"
CLEAR = provider_scan.DESIGN
E2EE = hash_upload.DESIGN


def said(records: list[EgressRecord]) -> Iterator[pb.SendRequest]:
    for record in records:
        if record.method.endswith("/Send"):
            yield from (pb.SendRequest.FromString(raw) for raw in record.requests)


@pytest.mark.parametrize("design", [CLEAR, E2EE], ids=lambda design: design.info.name)
def test_a_provider_reads_messages_only_where_that_is_declared(design: AnyDesign) -> None:
    with loopback(Arena(design), [drawn(1)]) as held:
        bob, carol, alice = (held.device(name) for name in ("bob", "carol", "alice"))
        alice.device.send_text("bob", TEXT)
        sent = alice.device.send_picture_to(["bob", "carol"], drawn(1), TEXT)
        assert all(one.delivered for one in sent)
        for watched, texts in ((bob, 2), (carol, 1)):
            messages = watched.device.receive(200)
            assert [one.text for one in messages] == [TEXT] * texts
            assert messages[-1].pictures == (drawn(1),)
        records = list(alice.recorder.records())
        requests = list(said(records))
        stored = b"".join(
            one.read_bytes() for one in (held.deployment.server(Party.PROVIDER) / STATE).rglob("*.sqlite*")
        )
        reports = centre_list(held.deployment).reports
    in_clear = not design.info.end_to_end
    assert len(requests) == 3
    assert all(bool(one.clear) is in_clear and bool(one.sealed) is not in_clear for one in requests)
    assert (TEXT.encode() in stored) is in_clear
    assert any(TEXT.encode() in raw for one in records for raw in one.requests) is in_clear
    assert any("Exchange" in one.method for one in records) is not in_clear
    assert {report.checks for report in reports} == {"passed"}
    assert len(reports) == 1 or not in_clear, "one attachment is reported once, whatever bears it"


def test_a_device_sends_no_message_of_the_other_kind() -> None:
    content = compose(TEXT, (), 1, seeded("content"))
    clear = clear_message(content, CLEAR.info)
    calls: list[Any] = []

    class Noting(Egress):
        def __init__(self) -> None: ...

        def unary(self, call: Any, request: Any) -> Any:
            calls.append(request)
            return pb.SendReply()

    for own, other, in_clear in ((clear, b"\x65sealed", True), (b"\x65sealed", clear, False)):
        relay = RelayClient(Noting(), clear=in_clear)
        relay.send("bob", bytes(16), own, None)
        with pytest.raises(DesignError, match="as the design declares"):
            relay.send("bob", bytes(16), other, None)
    assert [(one.clear, one.sealed) for one in calls] == [(clear, b""), (b"", b"\x65sealed")]


def test_a_device_with_end_to_end_encryption_takes_no_message_in_the_clear() -> None:
    content = compose("not from alice", (), 1, seeded("content"))

    def tampered(call: Any, request: Any, reply: Any) -> Any:
        if isinstance(reply, pb.Delivery):
            return pb.Delivery(
                sequence=reply.sequence, sender=reply.sender, clear=ClearMessage(content).encode()
            )
        return reply

    with loopback(Arena(E2EE)) as held:
        bob = held.device("bob", tampered)
        alice = held.device("alice")
        alice.device.send_text("bob", TEXT)
        (message,) = bob.device.receive(200)
        assert message.text == "" and message.problem


def test_what_the_provider_reads_is_declared() -> None:
    clear, e2ee = (list_device_facts(info=design.info)[Party.PROVIDER] for design in (CLEAR, E2EE))
    names = [fact.name for fact in clear]
    assert MESSAGE in clear and MESSAGE not in e2ee
    assert not set(OF_E2EE) & set(names) and set(OF_E2EE) <= {fact.name for fact in e2ee}


def test_the_declaration_decides_and_nothing_else() -> None:
    info = replace(CLEAR.info, end_to_end=True)
    with pytest.raises(DesignError):
        clear_message(compose(TEXT, (), 1, seeded("content")), info)


def test_an_audit_finds_a_message_of_the_other_kind_and_one_that_was_not_composed() -> None:
    content = compose(TEXT, (), 1, seeded("content"))
    trace = MessageTrace(bytes(16), "bob", None, None, content)

    def found(design: AnyDesign, **fields: bytes) -> list[str]:
        request = pb.SendRequest(recipient="bob", message_id=bytes(16), **fields)
        record = SimpleNamespace(
            method=SEND, requests=[request.SerializeToString()], party=Party.PROVIDER, item=None
        )
        evidence: Any = SimpleNamespace(
            records=[record], messages=[trace], sealed={trace.message_id: trace}, account="alice"
        )
        return [finding.rule for finding in check_messages(design, evidence)]

    clear = clear_message(content, CLEAR.info)
    altered = clear_message(replace(content, text=TEXT + " "), CLEAR.info)
    assert found(CLEAR, clear=clear) == []
    for fields in ({"clear": altered}, {"sealed": clear}, {"clear": clear, "sealed": b"more"}, {}):
        assert len(found(CLEAR, **fields)) == 1
    assert found(E2EE, clear=clear) == ["not a sealed message"]
