"""The legal steps of a session: nothing is concluded before every reply was verified."""

from __future__ import annotations

import pytest
from blindmatch_protocol.codec.errors import DesignError, ProtocolError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import Match, NoMatch, Ready, Request, Session, SessionError, answered
from blindmatch_protocol.designs.oprf_psi import DESIGN as OPRF_PSI
from blindmatch_protocol.designs.token_psi import DESIGN as TOKEN_PSI
from dummy_designs import ECHO
from support.memory import Held, held, random_hashes
from support.voprf_world import MATCHER, SMALL, Picture

LISTED = random_hashes(8)
PLACES = {"oprf-psi": (OPRF_PSI, {}), "token-psi": (TOKEN_PSI, SMALL)}


def place_of(name: str) -> Held:
    design, values = PLACES[name]
    return held(design, LISTED, 1, values)


def session(place: Held) -> Session:
    return Session(place.design, place.setup, place.design.enrol(seeded("a")), seeded("a"))


def received(place: Held, driver: Session, hash_: bytes) -> object:
    body = driver.start(Picture(hash_))[MATCHER]  # type: ignore[index]
    reply, _ = answered(place.design, MATCHER, place.states[MATCHER], Request(body), seeded("m"))
    return driver.receive({MATCHER: reply})


@pytest.mark.parametrize("name", PLACES)
def test_a_verified_session_waits_and_concludes_once(name: str) -> None:
    place = place_of(name)
    for hash_, kind in ((LISTED[0].tobytes(), Match), (bytes(32), NoMatch)):
        driver = session(place)
        assert isinstance(received(place, driver, hash_), Ready)
        first = driver.conclude()
        assert isinstance(first, kind) and driver.conclude() is first


@pytest.mark.parametrize("name", PLACES)
def test_receive_opens_nothing_of_the_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_of(name)
    looked = list[str]()
    module = f"blindmatch_protocol.designs.{name.replace('-', '_')}.design.find_label"
    monkeypatch.setattr(module, lambda *_: looked.append("look-up"))
    driver = session(place)
    received(place, driver, LISTED[0].tobytes())
    assert looked == []
    assert driver.conclude() == NoMatch() and looked == ["look-up"]


def test_nothing_is_concluded_before_the_replies_were_verified() -> None:
    place = place_of("oprf-psi")
    driver = session(place)
    with pytest.raises(SessionError, match="new cannot conclude"):
        driver.conclude()
    driver.start(Picture(LISTED[0].tobytes()))
    with pytest.raises(SessionError, match="sent cannot conclude"):
        driver.conclude()
    with pytest.raises(ProtocolError):
        driver.receive({})
    with pytest.raises(SessionError, match="sent cannot conclude"):
        driver.conclude()


def test_a_design_that_never_says_ready_has_nothing_to_conclude() -> None:
    with pytest.raises(DesignError, match="concludes nothing"):
        ECHO.conclude(None, 1)
