"""The log of a local deployment: `log.json` has its name and key, its witnesses, and how many must cosign.

HOME/log.json                     public; devices pin what follows from it for their design
HOME/log/keys/                    the log's key
HOME/witness_1/keys/ ...          each witness's key

Without the file nothing is logged, and devices pin no policy: `doctor` and `device status` say so.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from blindmatch_proofs.checkpoint import COSIGNATURE, ED25519, NoteSigner, VerifierKey
from blindmatch_proofs.epoch import DAY_S, EpochPolicy
from blindmatch_proofs.tlog_policy import Policy, policy_of
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.contract import Party
from blindmatch_server.storage.files import PUBLIC, replace_file
from blindmatch_server.storage.key_files import line_of, read_key
from msgspec import Struct

from blindmatch_simulations.testbed.deployment.addresses import DAMAGES
from blindmatch_simulations.testbed.deployment.folder import KEYS, Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.registry import operators

if TYPE_CHECKING:
    from blindmatch_server.log.service import StreamRule

LOG_FILE: Final = "log.json"
NO_LOG: Final = "none"
"""What stands where no policy is pinned: nobody can tell whether others are given the same epoch."""
LOG: Final = Party("log")
KEY: Final = "note.key"
EPOCHS: Final = "epochs"
COUNTS: Final = "counts"
WITNESSES_MOST: Final = 16
_SEED_BYTES: Final = 32
_DESIGN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class LogError(BlindmatchError):
    """The log cannot be asked, or what it answers must not be published."""


class TransparencyLog(Struct, frozen=True):
    """What is public of a deployment's log.

    Attributes:
        name: its streams' origins begin with it.
        public: its key, Ed25519, 32 bytes, the same for all streams.
        witnesses: keys by the party that runs one.
        operators: who runs it, by party; each counts once.
        needed: of how many operators a witness must have cosigned.
        most_age_s: how old a cosignature may be.
    """

    name: str
    public: bytes
    witnesses: Mapping[Party, VerifierKey]
    operators: Mapping[Party, str]
    needed: int
    most_age_s: int

    @property
    def parties(self) -> tuple[Party, ...]:
        """Whose servers it has."""
        return (LOG, *self.witnesses)

    def origin(self, *stream: str) -> str:
        """Of a stream: `EPOCHS` and a design's name, or `COUNTS`."""
        return "/".join((self.name, *stream))

    def key(self, origin: str) -> VerifierKey:
        """What a stream's checkpoints verify with."""
        return VerifierKey(origin, ED25519, self.public)

    def known(self, origin: str) -> VerifierKey | None:
        """The same, of an origin that is one of this log's streams."""
        return self.key(origin) if self.stream(origin, b"") else None

    def stream(self, origin: str, curator: bytes) -> StreamRule | None:
        """What is appended to a stream, and by whom; None if there is no such stream."""
        from blindmatch_server.log.service import counts, epochs_of  # no device needs the log's room

        kind, _, design = origin.removeprefix(f"{self.name}/").partition("/")
        if origin == self.origin(COUNTS):
            return counts()
        is_epochs = origin == self.origin(EPOCHS, design) and kind == EPOCHS
        return epochs_of(design, curator) if is_epochs and _DESIGN.fullmatch(design) else None

    def policy(self, origin: str) -> Policy:
        """Whose word a checkpoint of a stream needs."""
        by: dict[str, list[VerifierKey]] = {}
        for party, key in self.witnesses.items():
            by.setdefault(self.operators.get(party, f"operator-of-{party}"), []).append(key)
        return policy_of([self.key(origin)], by, self.needed)

    def pinned(self, design: str) -> EpochPolicy:
        """What devices of a design pin."""
        return EpochPolicy(self.policy(self.origin(EPOCHS, design)), self.most_age_s)


def make_log(
    deployment: Deployment, witnesses: int, needed: int, most_age_s: int = 7 * DAY_S
) -> TransparencyLog:
    """Give a deployment a log and witnesses, with their keys; devices that are made from now on pin it.

    Raises:
        DeploymentError: if it has a log, or epochs already, or a number breaks its rule.
    """
    path = deployment.home / LOG_FILE
    if path.exists():
        raise DeploymentError(f"{path.name} is there: a deployment has one log, and devices pin its key")
    if not 1 <= needed <= witnesses <= WITNESSES_MOST or most_age_s < 1:
        raise DeploymentError(f"a log has 1 to {WITNESSES_MOST} witnesses and needs 1 to all of them")
    if any(deployment.published("").glob("*/current")):
        raise DeploymentError("epochs are published already, and a log begins with epoch 1")
    parties = [Party(f"witness_{number}") for number in range(1, witnesses + 1)]
    deployment.admit((LOG, *parties), datetime.now(UTC))
    for party in (LOG, *parties):
        (deployment.server(party) / KEYS).mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(_key_file(deployment, party), line_of(secrets.token_bytes(_SEED_BYTES)))
    public = NoteSigner.of("log", ED25519, log_seed(deployment)).key.public
    name = f"log.blindmatch.test/{sha256(public).hexdigest()[:16]}"
    held = {
        "name": name, "key": public.hex(), "needed": needed, "most_age_s": most_age_s,
        "witnesses": {party: witness_signer(deployment, party).key.text for party in parties},
    }  # fmt: skip
    replace_file(path, (json.dumps(held, indent=2) + "\n").encode(), PUBLIC)
    made = read_log(deployment)
    assert made is not None
    return made


def read_log(deployment: Deployment) -> TransparencyLog | None:
    """The deployment's log; None if it has none.

    Raises:
        DeploymentError: if its file is damaged.
    """
    path = deployment.home / LOG_FILE
    try:
        held: Mapping[str, Any] = json.loads(path.read_bytes())
        keys = {Party(party): VerifierKey.parse(key) for party, key in held["witnesses"].items()}
        named = {party: who for party, who in operators(deployment).items() if party in keys}
        name, public = str(held["name"]), bytes.fromhex(held["key"])
        return TransparencyLog(name, public, keys, named, int(held["needed"]), int(held["most_age_s"]))
    except FileNotFoundError:
        return None
    except (*DAMAGES, ProtocolError) as error:
        raise DeploymentError(f"{path.name} is damaged") from error


def words_of_log(pinned: EpochPolicy | None) -> str:
    """What a device pins of a log, for people."""
    if pinned is None:
        return f"{NO_LOG}: no policy pinned, so that this device may be given an epoch of its own"
    groups = pinned.policy.groups.get(pinned.policy.quorum)
    of = f"{groups.least} of {len(groups.members)} operators" if groups else pinned.policy.quorum
    return f"{pinned.origin}, cosigned by {of}, at most {pinned.most_age_s // DAY_S} days ago"


def log_seed(deployment: Deployment) -> bytes:
    """The log's secret; `StateError` if it is not here."""
    return read_key(_key_file(deployment, LOG))


def witness_signer(deployment: Deployment, party: Party) -> NoteSigner:
    """A witness's key; `StateError` if it is not here."""
    name = f"{party.dns_name}/{party.server}"
    return NoteSigner.of(name, COSIGNATURE, read_key(_key_file(deployment, party)))


def _key_file(deployment: Deployment, party: Party) -> Path:
    return deployment.server(party) / KEYS / KEY
