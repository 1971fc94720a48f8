"""What a design declares of itself, its facts and parties; the harness tests it against what it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from enum import StrEnum
from typing import Any, ClassVar, Final, NewType

from msgspec import Struct, field

from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.redacted import Described
from blindmatch_protocol.contract.relation import Relation

_NAME: Final = re.compile(r"[a-z](?:[a-z0-9_]{0,29}[a-z0-9])?")
_RELAY: Final = "relay"
_TAKEN: Final = frozenset({_RELAY, "operator", "authority", "devices", "operators", "all"})
"""Names that a deployment uses otherwise: in certificates, for folders and in commands."""


class Party(str):
    """Who may see something: 1 to 31 of a-z 0-9 _, a letter first, no _ last; `DesignError` if the name
    breaks the rule, or means something else in a deployment.

    Five parties have constants; a design names its others itself: ``Party("party_a")``. A party is equal to
    its name.
    """

    DEVICE: ClassVar[Party]
    PROVIDER: ClassVar[Party]
    MATCHER: ClassVar[Party]
    CURATOR: ClassVar[Party]
    CENTRE: ClassVar[Party]

    __slots__ = ()

    def __new__(cls, name: str) -> Party:
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise DesignError(
                "party: a name is 1 to 31 of a-z 0-9 _, begins with a letter, does not end with _ and is "
                f"none of {', '.join(sorted(_TAKEN))}"
            )
        return super().__new__(cls, name)

    @property
    def server(self) -> str:
        """Name of its server in certificates, folders and commands: the provider's is the relay."""
        return _RELAY if self == Party.PROVIDER else str(self)

    @property
    def dns_name(self) -> str:
        """The name in its server's certificate (RFC 2606 keeps ``.test`` free)."""
        return f"{self.server.replace('_', '-')}.blindmatch.test"

    @classmethod
    def of_server(cls, name: str) -> Party:
        """The party whose server is called `name`; `DesignError` if no server can be called so."""
        if name == _RELAY:
            return Party.PROVIDER
        party = cls(name)
        if party in _SERVERLESS or party == Party.PROVIDER:
            raise DesignError(f"party: no server is called {name}")
        return party


Party.DEVICE = Party("device")
Party.PROVIDER = Party("provider")
Party.MATCHER = Party("matcher")
Party.CURATOR = Party("curator")
Party.CENTRE = Party("centre")
_SERVERLESS: Final = (Party.DEVICE, Party.CURATOR)


class Severity(StrEnum):
    """How much of a person's communication a fact tells, most first: an order to read by, not a score."""

    CONTENT = "content"
    HASH = "hash"
    OUTCOME = "outcome"
    LIST = "list"
    LINKS = "account links"
    SIZES = "sizes"
    TIMES = "times"


class Shows(StrEnum):
    """What a fact shows of a picture that was sent; the letters in the report's matrix."""

    PICTURE = "picture"
    HASH = "hash"
    OUTCOME = "outcome"
    ACCOUNT = "account"


class Topic(StrEnum):
    """Which abuse a fact is of.

    SEARCH: look for pictures that are not listed. FORCED: have a picture reported. HIDE: make matches go
    unseen. READ: read what people write. LIST: learn the list.
    """

    SEARCH = "search"
    FORCED = "forced"
    HIDE = "hide"
    READ = "read"
    LIST = "list"


def of_no_picture(item: object, setup: object) -> Hashable:
    """The value of a fact that is the same for every picture."""
    return True


class Fact(Described, Struct, frozen=True):
    """A fact that is disclosed; `DesignError` if it has no severity, as under contract 2.

    Attributes:
        name: e.g. ``query_time``, ``every_hash``; a plug-in's own have a dot: ``my.fact``.
        says: one sentence for people.
        severity: how much it tells.
        project: its value for (item, set-up). Two items for which all declared facts are equal must be
            indistinguishable to the party. The default is of a fact that is the same for every picture.
        shows: what of a picture that was sent it shows.
        topic: the abuse that it allows; None if none of those.
        abuse: what whoever learns it can do, as the end of a sentence; empty if nothing is to be named.
        noticed_by: who would notice that; empty if nobody found out.
    """

    SHOWN: ClassVar = ("name", "says", "severity")

    name: str
    says: str
    severity: Severity
    project: Callable[[Any, Any], Hashable] = of_no_picture
    shows: frozenset[Shows] = frozenset()
    topic: Topic | None = None
    abuse: str = ""
    noticed_by: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.severity, Severity):
            raise DesignError(
                f"fact {self.name}: severity must be a Severity, third, since contract 3: "
                "see docs/reference/contract.md"
            )


CONTRACT_VERSION = 3

Role = NewType("Role", str)
"""A part in a design's protocol that a server plays, such as ``matcher`` or ``party_a``."""


class Learner(StrEnum):
    """Who learns an item's outcome in an honest run."""

    DEVICE = "device"
    SERVER = "server"
    CENTRE = "centre"
    NOBODY = "nobody"


class Adversary(StrEnum):
    """How far a party departs from the protocol."""

    SEMI_HONEST = "semi-honest"
    MALICIOUS = "malicious"


class Content(StrEnum):
    """How pictures reach a party that plays a role.

    NO: none does.
    SEALED: to a role that nobody is to look into, such as an enclave; its party holds no more than the seal.
    CLEAR: to the party itself, which may report what it sees.
    """

    NO = "no"
    SEALED = "sealed"
    CLEAR = "clear"


class Tie(StrEnum):
    """What shows that a role answers by the epoch that the curator signed.

    NONE: nothing; the role is taken at its word.
    KEY: every reply is verified under a key in the set-up, so a transcript shows others how a session ended.
    QUOTE: an enclave's quote, which the device is shown.
    """

    NONE = "none"
    KEY = "key"
    QUOTE = "quote"


class Evaluation(StrEnum):
    """How what a device asks is compared with a list.

    LOCAL: on the device, or not at all.
    CLEAR: a role sees it, or a part of it, in the clear.
    SEALED: a role sees it in the clear; who carries or hosts it is not to look into the seal.
    OPRF: a role evaluates it blinded, under a key of its own.
    HOMOMORPHIC: a role computes with it under encryption.
    SHARED: several roles each see a share of it, which alone is random: secret sharing, or private
        information retrieval from several servers.
    """

    LOCAL = "local"
    CLEAR = "clear"
    SEALED = "sealed"
    OPRF = "oprf"
    HOMOMORPHIC = "homomorphic"
    SHARED = "shared"


class Vouching(Struct, frozen=True):
    """What the vouchers of a design tell; each a sentence for people.

    Attributes:
        tells: what a voucher tells the centre of the message before anything opens.
        visible: when the opener can tell that a voucher's outer layer opened.
        opened: when its label and evidence are read.
    """

    tells: str
    visible: str
    opened: str


class Leak(Struct, frozen=True):
    """What a coalition learns beyond its output.

    Attributes:
        parties: the coalition; one party alone is a coalition of one.
        adversary: what the coalition is assumed to do.
        facts: what it learns; empty means nothing.
    """

    parties: frozenset[Party]
    adversary: Adversary
    facts: tuple[Fact, ...]


class Parameter(Struct, frozen=True):
    """A number a design can be run with."""

    name: str
    says: str
    unit: str
    default: int
    least: int
    most: int


KEY_EXPIRES: Final = "key_expires"
"""Name of the parameter by which a set says when its key ends: Unix time in seconds, 0 for never. A curator's
tools know it by this name and build no set whose key has ended."""


class PeriodLimit(Struct, frozen=True):
    """What an account may have in each of the periods that follow one another from Unix time 0 on.

    An account may have twice as much around the end of a period.

    Attributes:
        seconds: length of a period, at least 1.
        evaluations: an account may have in one.
    """

    seconds: int
    evaluations: int


class KeyLimits(Struct, frozen=True):
    """How much a role's key may be used, and until when; whoever hosts the role enforces it.

    Attributes:
        key: names the key, over all epochs that share it; nothing secret.
        cost: evaluations that one body takes, whatever becomes of it.
        per_account: evaluations an account may have in the key's life; None for no limit.
        in_all: evaluations all accounts may have together in it; None for no limit.
        expires: Unix time in seconds from which on the key is not used; None for never.
        periods: what an account may have in periods of time, however long the key lives.
        counted_as: names what periods are counted for, over all keys that share it; empty: the key.
    """

    key: bytes
    cost: int
    per_account: int | None = None
    in_all: int | None = None
    expires: int | None = None
    periods: tuple[PeriodLimit, ...] = ()
    counted_as: bytes = b""

    @property
    def limits_accounts(self) -> bool:
        """Does any limit need to know which account asks?"""
        return self.per_account is not None or bool(self.periods)


class Info(Struct, frozen=True):
    """The declaration.

    Attributes:
        name: short and unique, e.g. ``oprf-psi``.
        version: of the design's messages and files; another version is refused.
        option: id in the option catalogue, e.g. ``1b``; any other is refused.
        differs: empty if the design is that option; else how it differs ("nearest to").
        summary: one sentence.
        relation: what counts as a match.
        learns: who learns the outcome.
        roles: which party plays which role.
        apart: groups of roles that must not collude: each is at a party of its own, and a deployment whose
            parties are operated by one is refused.
        forwarded: roles whose bodies another party carries. The device sends them there, sealed by the design
            to the role; the role's host takes them from the carrier alone, and never learns the account.
        distrusts: whether a device that a role cheated asks nobody anything until its user says so. False: it
            asks about the picture again when it sends next, as if no reply had come, since who stops asking
            can be seen to.
        quorum: replies of a round that are enough if some of the roles asked do not answer; 0: all must.
        tie: what shows that the roles answer by the epoch's list.
        sends_content: how the picture itself reaches a party with a role.
        end_to_end: False if there is no end-to-end encryption: the message goes to the provider in the clear,
            which scans it when it is handed over.
        large_bodies: True if a body or a reply may be over 960 KiB; all of them then travel in parts.
        in_processes: roles that answer in worker processes, one a core, since their library holds the
            interpreter's lock: the role is opened again there, without an executor, on the system's
            randomness.
        native_randomness: empty, or what draws randomness that no tape covers, such as a library, and for
            what. Checks then compare forms, lengths and outcomes where they would compare bytes.
        parameters: with units and ranges.
        evaluation: how what is asked is compared with the list.
        vouching: what vouchers tell; of a design with vouchers, and of no other.
        entries_a_step: of a design whose roles compare each picture with every entry, so that their work is
            linear in the list: how many entries one step compares. An assessment then measures two lengths
            that are whole steps apart. 0: nothing is declared.
        model_bytes: of a model that a device needs beside the set-up, wherever it gets it from.
    """

    name: str
    version: int
    option: str
    summary: str
    relation: Relation
    learns: frozenset[Learner]
    roles: Mapping[Role, Party]
    apart: tuple[frozenset[Role], ...] = ()
    forwarded: Mapping[Role, Party] = field(default_factory=dict)
    distrusts: bool = True
    differs: str = ""
    tie: Tie = Tie.NONE
    sends_content: Content = Content.NO
    end_to_end: bool = True
    large_bodies: bool = False
    in_processes: frozenset[Role] = frozenset()
    native_randomness: str = ""
    quorum: int = 0
    parameters: tuple[Parameter, ...] = ()
    evaluation: Evaluation = Evaluation.CLEAR
    vouching: Vouching | None = None
    entries_a_step: int = 0
    model_bytes: int = 0

    @property
    def setup_host(self) -> Party:
        """Who serves the set-up: whom the first role's bodies are sent to; without roles the matcher."""
        return self.asked(next(iter(self.roles))) if self.roles else Party.MATCHER

    def asked(self, role: Role) -> Party:
        """Whom a device sends bodies for `role` to: its party, or who carries them there."""
        return self.forwarded.get(role, self.roles[role])

    def seen_by(self, party: Party) -> tuple[Role, ...]:
        """Roles whose bodies `party` gets, to answer or to forward."""
        return tuple(role for role, host in self.roles.items() if party in (host, self.forwarded.get(role)))

    def sees_content(self, party: Party) -> bool:
        """Does `party` see pictures in the clear, in its role? Then it may report what it sees."""
        return self.sends_content is Content.CLEAR and party in self.roles.values()

    @property
    def callees(self) -> tuple[Party, ...]:
        """Whom devices send bodies to, each once, in the order of the roles."""
        return tuple(dict.fromkeys(map(self.asked, self.roles)))

    @property
    def parties(self) -> tuple[Party, ...]:
        """Who plays a role or forwards to one, each once."""
        return tuple(dict.fromkeys((*self.roles.values(), *self.forwarded.values())))
