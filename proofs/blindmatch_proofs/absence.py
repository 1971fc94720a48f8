"""Proofs that a picture is not on an epoch's list: a session of a device that a verifier runs again.

    device     a session made for the proof: tape of its randomness, replies of the roles --> AbsenceProof
    verifier   the epoch's set-up files are those of its signed manifest, and it has them; the design, started
               with this hash or picture on this tape, sends what it sends; the replies are verified as a
               device verifies them, under the keys in the manifest; what it concludes is no match, over
               every file

So absence means what it means on a device: of a near design, that nothing it asks about opens a label. What a
near design asks about depends on the picture beside its hash, so a verifier must have that. The tape
opens the blinds of that one session: it is never that of a message's. It asks for replies whose proofs stay
sound without a deadline (`CERTIFYING`), since the maker of a proof of absence may take years. Only a design
whose replies are tied to a key in the set-up can prove anything: where a role is taken at its word, its "no"
is no proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, Final

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Fixed, Message, Nested, Sequence, Text, Variable, decode_any
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.codec.randomness import replayed
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import NoMatch
from blindmatch_protocol.messages.epoch_manifest import EpochManifest, SignedManifest
from msgspec import Struct

from blindmatch_proofs.endorsement import FILE as ENDORSEMENT
from blindmatch_proofs.epoch import verify_signature, verify_stated
from blindmatch_proofs.verdict import Failed, Passed, Verdict

STATE_MOST: Final = 1 << 16
TAPE_MOST: Final = 1 << 20
REPLY_MOST: Final = 1 << 24
REPLIES_MOST: Final = 64
QUALITY: Final = 100
"""Of a hash that is asked about: one of poor quality is never asked about, and absent everywhere."""


class AbsenceReply(Message, tag=0x26, name="absence/reply"):
    """The reply of one role in one round."""

    role: Annotated[str, Text(64)]
    body: Annotated[bytes, Variable(REPLY_MOST)]
    """The reply as encoded."""


class AbsenceProof(Message, tag=0x2A, name="absence/proof"):
    """A session that came to no match, to be run again; version 2."""

    signed: Annotated[SignedManifest, Nested(SignedManifest)]
    """Manifest of the epoch."""
    hash: Annotated[bytes, Fixed(32)]
    """What is not on its list."""
    state: Annotated[bytes, Variable(STATE_MOST)]
    """The account's device state before it, encoded."""
    tape: Annotated[bytes, Variable(TAPE_MOST)]
    """All randomness it took."""
    replies: Annotated[tuple[AbsenceReply, ...], Sequence(Nested(AbsenceReply), REPLIES_MOST)]
    """In the order of rounds, then roles."""


class Hashed(Redacted, Struct, frozen=True):
    """An `Item` for a verifier that has a hash alone."""

    hash: bytes
    quality: int = QUALITY

    @property
    def coefficients(self) -> Any:
        """Raise `BlindmatchError`: a hash has no coefficients, luminance or pixels."""
        raise BlindmatchError("absence is shown of a hash, not of a picture")

    luminance = pixels = coefficients


def can_prove(design: bm.AnyDesign) -> bool:
    """Tell if a session of this design proves absence: its replies are tied to keys in the set-up."""
    return design.info.tie is bm.Tie.KEY


def verify_files(signed: SignedManifest, curator: bytes, files: bm.Buffers) -> Verdict:
    """Verify that these are all set-up files of an epoch that the key `curator` signed, byte for byte."""
    verdict = verify_signature(signed, curator)
    if verdict != Passed():
        return verdict
    named = {file.name: file for file in signed.manifest.files}
    if named.keys() != files.keys():
        return Failed("the files are not those that the manifest names")
    for name, file in named.items():
        if len(files[name]) != file.size or sha256(files[name]).digest() != file.digest:
            return Failed(f"{name} is not the file that the manifest names")
    return Passed()


def open_setup(design: bm.AnyDesign, manifest: EpochManifest, files: bm.Buffers) -> Any:
    """Open the set-up of an epoch for any number of proofs; every section of it is checked.

    Raises:
        ProtocolError: The manifest is of another design, or states other keys or parameters.
        SetFileError: A file is altered, truncated, or of another format.
    """
    if not manifest.is_of(design.info):
        raise ProtocolError(
            "absence", f"must be of {design.info.name}, version {design.info.version}", "design"
        )
    design_files = {name: data for name, data in files.items() if name != ENDORSEMENT}
    setup = design.open_setup(design_files, manifest.epoch)
    match verify_stated(manifest, design.stated(setup)):
        case Failed(reason):
            raise ProtocolError("absence", reason, "manifest")
    design.check_setup(setup)
    return setup


def verify_absence(
    proof: AbsenceProof, design: bm.AnyDesign, setup: Any, picture: bm.Item | None = None
) -> Verdict:
    """Verify that the session in a proof comes to no match with the opened set-up of its epoch.

    Args:
        setup: The epoch's set-up, as `open_setup` returns it.
        picture: The picture that the session must be of. None takes the proof's hash alone, which is enough
            where designs match exactly.
    """
    if not can_prove(design):
        return Failed(f"a session of {design.info.name} proves no absence")
    if design.epoch_of(setup) != proof.signed.manifest.epoch:
        return Failed("the set-up is of another epoch")
    if picture is None and not isinstance(design.info.relation, bm.Equal):
        return Failed(f"what {design.info.name} asks about depends on the picture: it is needed")
    item = picture or Hashed(proof.hash)
    if item.hash != proof.hash or item.quality < design.info.relation.minimum_quality:
        return Failed("the proof is of another picture, or of one that is never matched")
    try:
        outcome = _replay(proof, design, setup, item)
    except BlindmatchError as error:
        return Failed(f"the session does not come to an end: {error}")
    return Passed() if isinstance(outcome, NoMatch) else Failed("it is on the list")


def _replay(proof: AbsenceProof, design: bm.AnyDesign, setup: Any, item: bm.Item) -> object:
    """Run the session again, and return its outcome; raises if its form differs, or a reply is not valid."""
    session = bm.Session(design, setup, design.device_state.decode(proof.state), replayed(proof.tape))
    step = session.start(item, bm.CERTIFYING)
    left = list(proof.replies)
    while isinstance(step, Mapping):
        replies: dict[bm.Role, Message] = {}
        for role in sorted(step):
            if not left or left[0].role != role:
                raise ProtocolError("absence", f"the reply of {role} must come next", "replies")
            replies[role] = decode_any(design.replies[role], left.pop(0).body, f"absence/{role}")
        step = session.receive(replies)
    if left:
        raise ProtocolError("absence", "there are more than were asked for", "replies")
    return session.conclude() if isinstance(step, bm.Ready) else step
