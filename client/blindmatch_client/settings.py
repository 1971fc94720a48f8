"""Configure a device: how it fails, what follows from a match, and what each choice discloses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from blindmatch_proofs.endorsement import EndorsementPolicy
from blindmatch_proofs.epoch import EpochPolicy
from blindmatch_protocol import contract as bm
from blindmatch_protocol.account_name import NOTICES
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Nothing
from blindmatch_protocol.messages.franking import DEFAULT_MODE, FrankingMode
from blindmatch_protocol.messages.report import SLOT_SIZES
from blindmatch_protocol.messages.sealed_message import Franking
from msgspec import Struct, field

from blindmatch_client.egress import Egress
from blindmatch_client.errors import DeviceError
from blindmatch_client.store.store import Store
from blindmatch_client.store.vault import KeySource
from blindmatch_client.trace import Trace


class FailureMode(StrEnum):
    """What a device does with a picture that cannot be matched now.

    HOLD: the picture waits on the device until it was matched. The user cannot send while the matcher is
        down, and the relay sees from late messages how long it was.
    SEND_AND_MATCH_LATER: the picture is delivered and waits on the device to be matched. The matcher gets
        queries apart from the messages; a match is reported after the recipient has the picture.
    SEND_UNMATCHED: the picture is delivered and never matched. Whoever can block the matcher switches
        detection off; nobody but the sender's device knows which pictures that concerns.
    """

    HOLD = "hold"
    SEND_AND_MATCH_LATER = "send_and_match_later"
    SEND_UNMATCHED = "send_unmatched"


_RETRIED: Final = bm.Fact(
    "retry_time",
    "that a query that was asked before, or was missed, is asked again, and when",
    bm.Severity.TIMES,
)
_HELD: Final = bm.Fact(
    "outage_delay",
    "that messages with pictures come late, and so how long nobody could be asked",
    bm.Severity.TIMES,
)
_LATE: Final = bm.Fact(
    "late_query_time", "when a picture that was delivered before is matched", bm.Severity.TIMES
)


def list_failure_facts(mode: FailureMode, info: bm.Info) -> Mapping[bm.Party, tuple[bm.Fact, ...]]:
    """List what a mode discloses, once a failure happens, beyond what the design and the messenger disclose.

    In every mode a device that stops between handing a message over and looking at the outcome asks again.

    Returns:
        The facts by party: the parties that devices of the design `info` ask, and the provider.
    """
    if not info.callees:
        return {}
    of_callees = (_RETRIED, _LATE) if mode is FailureMode.SEND_AND_MATCH_LATER else (_RETRIED,)
    facts = dict.fromkeys(info.callees, of_callees)
    if mode is FailureMode.HOLD:
        facts[bm.Party.PROVIDER] = (*facts.get(bm.Party.PROVIDER, ()), _HELD)
    return facts


class Consequence(StrEnum):
    """What a device does about a match or a flag.

    REPORT: the message is delivered, and a match or a flag reported to the centre.
    WARN: the message is delivered and the user told; nothing else leaves the device.
    REFUSE: the message is not sent, and the user told. Delivery then depends on the outcome: who sees that a
        picture was asked about and that no message follows knows it (fact `outcome`).
    """

    REPORT = "report"
    WARN = "warn"
    REFUSE = "refuse"


def check_consequence(consequence: Consequence, holds: bool, info: bm.Info) -> None:
    """Check that a device of a design can act on a match in this way.

    Args:
        holds: True if pictures wait until they are matched.

    Raises:
        DesignError: The device never learns an outcome, or must refuse pictures that leave unmatched.
    """
    if consequence is not Consequence.REPORT and bm.Learner.DEVICE not in info.learns:
        raise DesignError(f"consequence {consequence}: with design {info.name} the device learns nothing")
    if consequence is Consequence.REFUSE and not holds:
        raise DesignError("consequence refuse: pictures would be sent before they are matched")


LEAST_PERIOD_S: Final = 5
ROUND_DEADLINE_S: Final = 30.0


class CoverSchedule(Struct, frozen=True):
    """When the slots of a cover schedule are, and how large; `DeviceError` if a value is out of range.

    Attributes:
        period_s: seconds from one slot to the next.
        size: bytes of a slot, one of `SLOT_SIZES`. A larger report takes several slots.
    """

    period_s: int
    size: int = SLOT_SIZES[1]

    def __post_init__(self) -> None:
        if self.period_s < LEAST_PERIOD_S or self.size not in SLOT_SIZES:
            sizes = ", ".join(map(str, SLOT_SIZES))
            raise DeviceError(f"a cover schedule has {LEAST_PERIOD_S} seconds or more and a size of {sizes}")


class Unreadable(StrEnum):
    """What a device does with an attachment that is no picture it can decode."""

    REFUSE = "refuse"
    SEND = "send"
    """It is sent unmatched: a way around detection, open to every user, that says nothing to anybody."""


class CentreIdentity(Struct, frozen=True):
    """The centre's public keys, which come with the app. Any other key said to be the centre's is refused.

    Attributes:
        sealing: key that reports are sealed to, X25519, 32 bytes.
        notices: identity key of the account that sends the centre's notices, Curve25519, 32 bytes.
        account: name of that account.
    """

    sealing: bytes
    notices: bytes
    account: str = NOTICES


class DeviceConfig(Struct, frozen=True):
    """The configuration of a device; `DesignError` if the consequence does not fit the design or the mode.

    Attributes:
        account: the name in the device's certificate.
        curator: the public key that signs its epochs, Ed25519, 32 bytes; it comes with the app.
        mode: what it does with a picture that cannot be matched now.
        unreadable: what it does with an attachment that is no picture.
        round_deadline_s: seconds for one round with a role.
        key: the source of the key that locks the store; None: a key file beside it, which protects nothing by
            itself.
        cover: the schedule on which reports leave; None: they leave at once, which shows when there is one.
        centre: the centre's keys; None: nothing can be reported, and its notices are like any messages.
        consequence: what it does about a match.
        franking: how messages are bound to their sender's key; the same in all of a deployment.
        endorsement: who must have endorsed an entry; None: nobody, so that the curator alone decides.
        log: what the log of the design's epochs must show; None: nothing, so that the device cannot tell if
            others are given the same epoch.
    """

    account: str
    design: bm.AnyDesign
    curator: bytes
    mode: FailureMode = FailureMode.HOLD
    unreadable: Unreadable = Unreadable.REFUSE
    round_deadline_s: float = ROUND_DEADLINE_S
    key: KeySource | None = None
    cover: CoverSchedule | None = None
    centre: CentreIdentity | None = None
    consequence: Consequence = Consequence.REPORT
    franking: Franking = field(default_factory=Franking)
    endorsement: EndorsementPolicy | None = None
    log: EpochPolicy | None = None

    def __post_init__(self) -> None:
        check_consequence(self.consequence, self.mode is FailureMode.HOLD, self.design.info)


_OUTCOME: Final = frozenset({bm.Shows.OUTCOME})
_ACCOUNT: Final = frozenset({bm.Shows.ACCOUNT})
ADDRESS: Final = bm.Fact("address", "the network address of the device", bm.Severity.LINKS)


def _build_account_fact(says: str) -> bm.Fact:
    return bm.Fact(
        "account", says, bm.Severity.LINKS, shows=_ACCOUNT, abuse="tells whose each picture is",
        noticed_by="nobody",
    )  # fmt: skip


MATCH_TIME: Final = bm.Fact(
    "match_time",
    "when a report leaves; reports are not on a cover schedule, so each is visible as one",
    bm.Severity.OUTCOME,
    shows=_OUTCOME,
)

REPORT: Final = bm.Fact(
    "report",
    "for a confirmed match: picture, both accounts, entry, times, commitment",
    bm.Severity.CONTENT,
    shows=frozenset({bm.Shows.PICTURE, bm.Shows.OUTCOME, bm.Shows.ACCOUNT}),
)
FRANKING_FACTS: Final[Mapping[FrankingMode, bm.Fact]] = {
    FrankingMode.STAMP: bm.Fact(
        "stamped_message",
        "for a reported message: that the relay took it, by a stamp that convinces relay and centre alone; "
        "they can make one for any message: sender and recipient can deny it to everybody else",
        bm.Severity.LINKS,
    ),
    FrankingMode.DESIGNATED: bm.Fact(
        "designated_message",
        "for a reported message: that the sender's key made it, which convinces the centre and the recipient "
        "alone; they can make the same for themselves, so sender and recipient can deny it to everybody else",
        bm.Severity.LINKS,
    ),
    FrankingMode.SIGNATURE: bm.Fact(
        "signed_message",
        "every message, matched or not, is signed by its sender: whoever gets it from its recipient, or in a "
        "report from the centre, can prove to anybody who wrote it to whom; nobody can deny it",
        bm.Severity.LINKS,
    ),
}
"""Who can verify that a message was sent, and who can deny it. Each holds for a reported message; a signature
can also be verified where nothing is reported."""

OUTCOME: Final = bm.Fact(
    "outcome",
    "that a picture matches: this device does not send what does, so a query without a message tells it",
    bm.Severity.OUTCOME,
    shows=_OUTCOME,
)

MESSENGER_FACTS: Final[Mapping[bm.Party, tuple[bm.Fact, ...]]] = {
    bm.Party.PROVIDER: (
        _build_account_fact("which account sends, receives and acknowledges, from its certificate"),
        ADDRESS,
        bm.Fact(
            "recipient",
            "to whom a message goes, and whose pre-keys are fetched",
            bm.Severity.LINKS,
            shows=_ACCOUNT,
        ),
        bm.Fact("message_time", "when a message is sent, fetched and acknowledged", bm.Severity.TIMES),
        bm.Fact("padded_size", "the padded size of a message and of each attachment", bm.Severity.SIZES),
        bm.Fact("attachment_count", "how many attachments are uploaded before a message", bm.Severity.SIZES),
        bm.Fact(
            "shared_attachment",
            "that several accounts fetch one attachment: who is in a group",
            bm.Severity.LINKS,
        ),
        bm.Fact("pre_key_upkeep", "when pre-keys are replaced, and how many were used", bm.Severity.TIMES),
        bm.Fact(
            "session_start", "that a message starts a session, and which pre-keys it uses", bm.Severity.LINKS
        ),
        bm.Fact(
            "unverified_keys",
            "if it cheats: everything two people write who never compared their safety number, since it can "
            "hand out keys of its own",
            bm.Severity.CONTENT,
            topic=bm.Topic.READ,
            abuse="reads what two people write who never compared their safety number",
            noticed_by="the two, if they compare it",
        ),
        bm.Fact(
            "message_order",
            "session name, ratchet key and number of a message, from its header",
            bm.Severity.LINKS,
        ),
    ),
    bm.Party.MATCHER: (
        _build_account_fact("which account fetches the set-up and asks, from its certificate"),
        ADDRESS,
    ),
    bm.Party.CENTRE: (
        _build_account_fact("which account fetches the centre's key or reports, from its certificate"),
        ADDRESS,
        REPORT,
    ),
}
"""Facts that an honest device discloses in every deployment, by party."""

MESSAGE: Final = bm.Fact(
    "message",
    "every message: its text and whatever it bears; nothing of it is end-to-end encrypted",
    bm.Severity.CONTENT,
    shows=frozenset({bm.Shows.PICTURE}),
    topic=bm.Topic.SEARCH,
    abuse="reads every message",
    noticed_by="nobody",
)

OF_E2EE: Final = ("session_start", "unverified_keys", "message_order")
"""Names of the facts that exist only where messages are end-to-end encrypted."""

HOST_FACTS: Final = (
    _build_account_fact("which account asks, from its certificate"),
    ADDRESS,
)
"""Facts that any other party learns that hosts a role."""


NOTICE_TIME: Final = bm.Fact(
    "notice_time",
    "once the centre tells its user of a report, or what was decided: when, and so that there was one, by "
    "who sends it and by its size, with a cover schedule, too; the time can tell what was decided",
    bm.Severity.OUTCOME,
    shows=_OUTCOME,
)

COMPLAINT_FACTS: Final[Mapping[bm.Party, tuple[bm.Fact, ...]]] = {
    bm.Party.CENTRE: (
        bm.Fact(
            "complaint",
            "which report an account complains about, when, and in which words",
            bm.Severity.CONTENT,
        ),
    ),
    bm.Party.PROVIDER: (
        bm.Fact(
            "complaint_time",
            "once its user complains: that something leaves for the centre beside any schedule, and when; so "
            "that the device had reported a match",
            bm.Severity.OUTCOME,
        ),
    ),
}
"""Facts that a complaint discloses beyond that, once a user makes one, with a cover schedule and without. The
provider stands here for anyone who sees the device's traffic."""


def list_device_facts(
    cover_schedule: bool = False,
    info: bm.Info | None = None,
    consequence: Consequence = Consequence.REPORT,
    franking: FrankingMode = DEFAULT_MODE,
) -> Mapping[bm.Party, tuple[bm.Fact, ...]]:
    """List what an honest device discloses beside its design, by party.

    - Every device: `MESSENGER_FACTS`, and `HOST_FACTS` to other parties that devices of the design `info`
      call. A host whose bodies are all forwarded learns none.
    - A device that reports, of a design that matches anything: `REPORT`, and if it makes the report itself
      `COMPLAINT_FACTS` and `NOTICE_TIME`. Also `MATCH_TIME` unless reports are on a cover schedule, to the
      centre and to anyone who sees the device's traffic; the provider stands for these. A device of a design
      with vouchers makes no report: a voucher leaves for every picture, and the centre opens some of them.
    - A device that refuses to send what matches: `OUTCOME` to the provider, unless its design asks nobody.
    - Without end-to-end encryption the provider reads every `MESSAGE`, and messages are franked in no mode.
    """
    has_matches = info is None or not isinstance(info.relation, Nothing)
    has_reports = consequence is Consequence.REPORT and has_matches
    makes_reports = has_reports and (info is None or info.vouching is None)
    times: dict[bm.Party, tuple[bm.Fact, ...]] = {}
    if consequence is Consequence.REFUSE and (info is None or info.roles):
        times = {bm.Party.PROVIDER: (OUTCOME,)}
    elif makes_reports and not cover_schedule:
        times = {bm.Party.CENTRE: (MATCH_TIME,), bm.Party.PROVIDER: (MATCH_TIME,)}
    of_provider = (*COMPLAINT_FACTS[bm.Party.PROVIDER], NOTICE_TIME)
    of_reports = {**COMPLAINT_FACTS, bm.Party.PROVIDER: of_provider} if makes_reports else {}
    of_clear_text = {} if info is None or info.end_to_end else {bm.Party.PROVIDER: (MESSAGE,)}
    is_franked = not of_clear_text and (has_reports or franking is FrankingMode.SIGNATURE)
    of_franking = {bm.Party.CENTRE: (FRANKING_FACTS[franking],)} if is_franked else {}
    return {
        party: (
            *(
                fact
                for fact in facts
                if (has_reports or fact is not REPORT) and not (of_clear_text and fact.name in OF_E2EE)
            ),
            *of_clear_text.get(party, ()),
            *of_franking.get(party, ()),
            *times.get(party, ()),
            *of_reports.get(party, ()),
        )
        for party, facts in _list_messenger_facts(info).items()
    }


def _list_messenger_facts(info: bm.Info | None) -> Mapping[bm.Party, tuple[bm.Fact, ...]]:
    """List what the messenger discloses to each party, and what it discloses to call the design's hosts."""
    called = () if info is None else info.callees
    hidden = set() if info is None else set(info.roles.values()).difference(called, [bm.Party.PROVIDER])
    facts_by_party = {**dict.fromkeys(called, HOST_FACTS), **MESSENGER_FACTS}
    return {party: facts for party, facts in facts_by_party.items() if party not in hidden}


class Base(Redacted, Struct, frozen=True):
    """What every part of one account's device needs.

    Attributes:
        trace: takes what an audit needs, which holds secrets.
    """

    folder: Path
    config: DeviceConfig
    store: Store
    egress: Egress
    rng: Randomness
    clock_ms: Callable[[], int]
    trace: Callable[[Trace], None]

    @property
    def design(self) -> bm.AnyDesign:
        return self.config.design
