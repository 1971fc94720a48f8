"""The log of a local deployment: `log.json` has its name and key, its witnesses, and how many must cosign.

Without the file nothing is logged, and devices pin no policy: `doctor` and `device status` say so.

`endorsement.json` says who endorses entries, and what endorsements must be over.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from blindmatch_proofs.checkpoint import COSIGNATURE, ED25519, NoteSigner, VerifierKey
from blindmatch_proofs.endorsement import EndorsementPolicy, Terms
from blindmatch_proofs.endorsement.batch import NAME
from blindmatch_proofs.endorsement.batch import build_endorsement_policy as endorsement_of
from blindmatch_proofs.epoch import DAY_S, EpochPolicy
from blindmatch_proofs.tlog import Policy, build_policy
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_server.storage.files import PUBLIC, line_of, read_key, replace_file
from msgspec import Struct

from blindmatch_simulations.testbed.deployment.addresses import DAMAGES
from blindmatch_simulations.testbed.deployment.folder import KEYS, Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.registry import operators

if TYPE_CHECKING:
    from blindmatch_server.curator.endorsement.batches import OrganisationKey
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


class ForeignWitness(Struct, frozen=True):
    """A witness that others run, of kind `https` (c2sp.org/tlog-witness).

    Attributes:
        url: its submission prefix.
    """

    key: VerifierKey
    url: str
    operator: str


class TransparencyLog(Struct, frozen=True):
    """What is public of a deployment's log.

    Attributes:
        name: its streams' origins begin with it.
        public: its key, Ed25519, 32 bytes, the same for all streams.
        witnesses: keys by the party that runs one.
        operators: who runs it, by party; each counts once.
        needed: of how many operators a witness must have cosigned.
        roots: PEM, what certifies their servers; empty: the system's roots.
    """

    name: str
    public: bytes
    witnesses: Mapping[Party, VerifierKey]
    operators: Mapping[Party, str]
    needed: int
    most_age_s: int
    foreign: tuple[ForeignWitness, ...] = ()
    roots: str = ""

    @property
    def parties(self) -> tuple[Party, ...]:
        return (LOG, *self.witnesses)

    def origin(self, *stream: str) -> str:
        """Of a stream: `EPOCHS` and a design's name, or `COUNTS`."""
        return "/".join((self.name, *stream))

    def key(self, origin: str) -> VerifierKey:
        return VerifierKey(origin, ED25519, self.public)

    def known(self, origin: str) -> VerifierKey | None:
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
        for one in self.foreign:
            by.setdefault(one.operator, []).append(one.key)
        return build_policy([self.key(origin)], by, self.needed)

    def pinned(self, design: str) -> EpochPolicy:
        return EpochPolicy(self.policy(self.origin(EPOCHS, design)), self.most_age_s)


def make_log(
    deployment: Deployment,
    witnesses: int,
    needed: int | None = None,
    most_age_s: int = 7 * DAY_S,
    foreign: Sequence[ForeignWitness] = (),
    roots: str = "",
) -> TransparencyLog:
    """Give a deployment a log and witnesses, with their keys; those of `needed` operators (None: all) must
    cosign. Devices that are made from now on pin it; `foreign` and `roots` as in `TransparencyLog`.
    `DeploymentError` if it has a log, or epochs already, or a number, key or address breaks its rule."""
    path = deployment.home / LOG_FILE
    if path.exists():
        raise DeploymentError(f"{path.name} is there: a deployment has one log, and devices pin its key")
    if any(deployment.published("").glob("*/current")):
        raise DeploymentError("epochs are published already, and a log begins with epoch 1")
    parties = [Party(f"witness_{number}") for number in range(1, witnesses + 1)]
    named = {party: who for party, who in operators(deployment).items() if party in parties}
    most = len({*(named.get(one, one) for one in parties), *(one.operator for one in foreign)})
    needed = most if needed is None else needed
    if not (1 <= needed <= most and len(parties) + len(foreign) <= WITNESSES_MOST) or most_age_s < 1:
        raise DeploymentError(
            f"a log has 1 to {WITNESSES_MOST} witnesses and needs those of 1 to all of their operators"
        )
    seeds = {party: secrets.token_bytes(_SEED_BYTES) for party in (LOG, *parties)}
    public = NoteSigner.from_seed("log", ED25519, seeds[LOG]).key.public
    name = f"log.blindmatch.test/{sha256(public).hexdigest()[:16]}"
    keys = {party: _signer(party, seeds[party]).key for party in parties}
    log = TransparencyLog(name, public, keys, named, needed, most_age_s, tuple(foreign), roots)
    _check(log)
    deployment.admit(seeds, datetime.now(UTC))
    for party, seed in seeds.items():
        (deployment.server(party) / KEYS).mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(_key_file(deployment, party), line_of(seed))
    replace_file(path, _as_json(log), PUBLIC)
    return log


def foreign_of(policy: Policy) -> tuple[ForeignWitness, ...]:
    """The witnesses of a tlog-policy, which must have URLs; those of a group `any` are one operator's;
    `DeploymentError` if one has no URL, or there is none."""
    by = {name: group for group, one in policy.groups.items() if one.least == 1 for name in one.members}
    if missing := ", ".join(sorted(policy.witnesses.keys() - policy.urls.keys())):
        raise DeploymentError(f"{missing}: a witness that others run needs a URL on its line")
    if not policy.witnesses:
        raise DeploymentError("the policy has no witness")
    return tuple(
        ForeignWitness(key, policy.urls[name], by.get(name, name)) for name, key in policy.witnesses.items()
    )


def _check(log: TransparencyLog) -> None:
    """That witnesses of others can be asked, and all have a place in a policy; raises `DeploymentError`."""
    from blindmatch_server.log.witness import SubmissionPrefix, trust_of

    if twins := log.witnesses.keys() & {one.key.name for one in log.foreign}:
        raise DeploymentError(f"a witness that others run: name {min(twins)} must be new")
    try:
        if log.roots:
            trust_of(log.roots)
        for one in log.foreign:
            SubmissionPrefix.parse(one.url)
        log.policy(log.name)
    except ProtocolError as error:
        raise DeploymentError(f"a witness that others run: {error}") from error


def _as_json(log: TransparencyLog) -> bytes:
    of_others = {
        one.key.name: {"key": one.key.text, "url": one.url, "operator": one.operator} for one in log.foreign
    }
    held = {
        "name": log.name, "key": log.public.hex(), "needed": log.needed, "most_age_s": log.most_age_s,
        "witnesses": {party: key.text for party, key in log.witnesses.items()} | of_others,
        **({"roots": log.roots} if log.roots else {}),
    }  # fmt: skip
    return (json.dumps(held, indent=2) + "\n").encode()


def read_log(deployment: Deployment) -> TransparencyLog | None:
    """The deployment's log; None if it has none; `DeploymentError` if its file is damaged."""
    path = deployment.home / LOG_FILE
    try:
        held: Mapping[str, Any] = json.loads(path.read_bytes())
        of_others = {name: one for name, one in held["witnesses"].items() if isinstance(one, dict)}
        keys = {
            Party(party): VerifierKey.parse(key)
            for party, key in held["witnesses"].items()
            if party not in of_others
        }
        foreign = tuple(
            ForeignWitness(VerifierKey.parse(one["key"]), str(one["url"]), str(one["operator"]))
            for one in of_others.values()
        )
        named = {party: who for party, who in operators(deployment).items() if party in keys}
        return TransparencyLog(
            str(held["name"]), bytes.fromhex(held["key"]), keys, named,
            int(held["needed"]), int(held["most_age_s"]), foreign, str(held.get("roots", "")),
        )  # fmt: skip
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
    return _signer(party, read_key(_key_file(deployment, party)))


def _signer(party: Party, seed: bytes) -> NoteSigner:
    return NoteSigner.from_seed(f"{party.dns_name}/{party.server}", COSIGNATURE, seed)


def _key_file(deployment: Deployment, party: Party) -> Path:
    return deployment.server(party) / KEYS / KEY


POLICY: Final = "endorsement.json"
NO_POLICY: Final = "none"
"""What stands where there is none: the curator's word is enough."""


def read_policy(deployment: Deployment) -> EndorsementPolicy | None:
    """Who must endorse entries here; None: nobody."""
    path = deployment.home / POLICY
    return policy_at(path) if path.exists() else None


def policy_at(path: Path) -> EndorsementPolicy:
    """The policy in a file of this form; `DeploymentError` if the file is missing or damaged, or breaks a
    rule."""
    try:
        held: Mapping[str, Any] = json.loads(path.read_bytes())
        named = held["organisations"].items()
        return endorsement_of(int(held["needed"]), [(str(name), bytes.fromhex(key)) for name, key in named])
    except FileNotFoundError as error:
        raise DeploymentError(f"{path.name} is missing") from error
    except ProtocolError as error:
        raise DeploymentError(f"{path.name}: {error}") from error
    except DAMAGES as error:
        raise DeploymentError(f"{path.name} is damaged") from error


def keys_of(policy: EndorsementPolicy) -> dict[str, str]:
    """Keys in hex by organisation, as the file has them."""
    return {one.name: one.key.hex() for one in policy.organisations}


def make_policy(deployment: Deployment, needed: int, names: Sequence[str]) -> EndorsementPolicy:
    """Say who endorses from now on; an organisation that has no key here gets one. Devices keep the policy
    they were registered with. `DeploymentError` if a name or the number breaks its rule."""
    if not all(map(NAME.fullmatch, names)) or not 1 <= needed <= len(set(names)) == len(names):
        rule = "organisations have different names of lower-case letters, digits and inner dashes"
        raise DeploymentError(f"{rule}, and as many of them as there are may be needed, not {needed}")
    made = endorsement_of(needed, [(name, key_of(deployment, name).public) for name in names])
    content = json.dumps({"needed": needed, "organisations": keys_of(made)}, indent=2)
    replace_file(deployment.home / POLICY, f"{content}\n".encode(), PUBLIC)
    return made


def terms_of(deployment: Deployment, design: AnyDesign) -> Terms:
    """What endorsements here must be over; `DeploymentError` if there is no policy."""
    policy = read_policy(deployment)
    if policy is None:
        raise DeploymentError("no policy of endorsement here; make one with: blindmatch list policy")
    return Terms(deployment.curator_public_key(), design.info.name, policy)


def key_of(deployment: Deployment, name: str) -> OrganisationKey:
    """An organisation's key, made if it has none here."""
    from blindmatch_server.curator.endorsement.batches import (
        OrganisationKey,  # no device needs the curator's room
    )

    folder = deployment.home / "organisations" / name / KEYS
    held = (folder / f"{OrganisationKey.NAME}.key").exists()
    return OrganisationKey.read(folder) if held else OrganisationKey.create(folder)


def check_named(deployment: Deployment, name: str) -> None:
    policy = read_policy(deployment)
    if policy is None or name not in policy.names:
        known = "there is no policy" if policy is None else f"it has {', '.join(policy.names)}"
        raise DeploymentError(f"the policy names no organisation {name}; {known}")


def check_not_needed(deployment: Deployment) -> None:
    """Refuse to publish without endorsements where there is a policy: no device would take the epoch;
    `EndorsementError` if there is one."""
    from blindmatch_server.curator.endorsement.batches import (
        EndorsementError,  # no device needs the curator's room
    )

    if read_policy(deployment) is not None:
        raise EndorsementError("entries here must be endorsed: list propose, list endorse, list publish")


def words_of(policy: EndorsementPolicy | None) -> str:
    """A policy in a line: ``2 of north, south, west``; `NO_POLICY` where there is none."""
    return NO_POLICY if policy is None else f"{policy.needed} of {', '.join(policy.names)}"
