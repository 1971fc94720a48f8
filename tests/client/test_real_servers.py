"""A device against the servers themselves, all in one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from blindmatch_client.device import OutcomeKind
from blindmatch_protocol.contract import Party
from support.fakes import picture
from support.world import listed_world

DUMMIES = Path(__file__).parents[1] / "dummy_designs.py"
LISTED = picture(1)
OTHER = picture(2)


@pytest.mark.parametrize("reference", [f"{DUMMIES}:ECHO", f"{DUMMIES}:LARGE", "oprf-psi"])
def test_a_device_talks_to_the_servers_themselves(tmp_path: Path, reference: str) -> None:
    with listed_world(tmp_path / "home", reference, [LISTED]) as world:
        world.start(threads=True)
        alice = world.device("alice")
        _ = world.device("bob")
        sent = [world.send_text("alice", "bob", "hello")]
        sent += [world.send_picture("alice", "bob", data) for data in (LISTED, OTHER, LISTED)]
        got = world.receive("bob", 4)
        assert [one.outcome for one in sent] == [
            OutcomeKind.NO_PICTURE,
            OutcomeKind.MATCH,
            OutcomeKind.NO_MATCH,
            OutcomeKind.MATCH,
        ]
        assert [one.pictures for one in got] == [(), (LISTED,), (OTHER,), (LISTED,)]
        assert [one.reported for one in sent] == [False, True, False, True] and world.reports() == 2
        called = {record.party for record in alice.recorder.records()}
        assert called == {Party.PROVIDER, Party.MATCHER, Party.CENTRE}
