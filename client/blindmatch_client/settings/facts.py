"""What the messenger and its reports disclose by themselves, whatever the design: data for the table of
what each party saw, and for docs/threat-model.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from blindmatch_protocol.contract import Fact, Info, Nothing, Party, Severity, Shows, Topic
from blindmatch_protocol.messages.franking_mode import DEFAULT_MODE, FrankingMode

from blindmatch_client.settings.consequence import Consequence

_OUTCOME: Final = frozenset({Shows.OUTCOME})
_ACCOUNT: Final = frozenset({Shows.ACCOUNT})
ADDRESS: Final = Fact("address", "the network address of the device", Severity.LINKS)


def _account(says: str) -> Fact:
    return Fact(
        "account", says, Severity.LINKS, shows=_ACCOUNT, abuse="tells whose each picture is",
        noticed_by="nobody",
    )  # fmt: skip


MATCH_TIME: Final = Fact(
    "match_time",
    "when a report leaves; reports are not on a cover schedule, so each is visible as one",
    Severity.OUTCOME,
    shows=_OUTCOME,
)

REPORT: Final = Fact(
    "report",
    "for a confirmed match: picture, both accounts, entry, times, commitment",
    Severity.CONTENT,
    shows=frozenset({Shows.PICTURE, Shows.OUTCOME, Shows.ACCOUNT}),
)
FRANKING_FACTS: Final[Mapping[FrankingMode, Fact]] = {
    FrankingMode.STAMP: Fact(
        "stamped_message",
        "for a reported message: that the relay took it, by a stamp that convinces relay and centre alone; "
        "they can make one for any message: sender and recipient can deny it to everybody else",
        Severity.LINKS,
    ),
    FrankingMode.DESIGNATED: Fact(
        "designated_message",
        "for a reported message: that the sender's key made it, which convinces the centre and the recipient "
        "alone; they can make the same for themselves, so sender and recipient can deny it to everybody else",
        Severity.LINKS,
    ),
    FrankingMode.SIGNATURE: Fact(
        "signed_message",
        "every message, matched or not, is signed by its sender: whoever gets it from its recipient, or in a "
        "report from the centre, can prove to anybody who wrote it to whom; nobody can deny it",
        Severity.LINKS,
    ),
}
"""Who can verify that a message was sent, and who can deny it. Of a report that follows; of a signature, too,
where nothing is reported."""

OUTCOME: Final = Fact(
    "outcome",
    "that a picture matches: this device does not send what does, so a query without a message tells it",
    Severity.OUTCOME,
    shows=_OUTCOME,
)

MESSENGER_FACTS: Final[Mapping[Party, tuple[Fact, ...]]] = {
    Party.PROVIDER: (
        _account("which account sends, receives and acknowledges, from its certificate"),
        ADDRESS,
        Fact(
            "recipient",
            "to whom a message goes, and whose pre-keys are fetched",
            Severity.LINKS,
            shows=_ACCOUNT,
        ),
        Fact("message_time", "when a message is sent, fetched and acknowledged", Severity.TIMES),
        Fact(
            "padded_size", "the padded size of a message and of each attachment (padding.py)", Severity.SIZES
        ),
        Fact("attachment_count", "how many attachments are uploaded before a message", Severity.SIZES),
        Fact(
            "shared_attachment",
            "that several accounts fetch one attachment: who is in a group",
            Severity.LINKS,
        ),
        Fact("pre_key_upkeep", "when pre-keys are replaced, and how many were used", Severity.TIMES),
        Fact("session_start", "that a message starts a session, and which pre-keys it uses", Severity.LINKS),
        Fact(
            "unverified_keys",
            "if it cheats: everything two people write who never compared their safety number, since it can "
            "hand out keys of its own",
            Severity.CONTENT,
            topic=Topic.READ,
            abuse="reads what two people write who never compared their safety number",
            noticed_by="the two, if they compare it",
        ),
        Fact(
            "message_order",
            "session name, ratchet key and number of a message, from its header",
            Severity.LINKS,
        ),
    ),
    Party.MATCHER: (
        _account("which account fetches the set-up and asks, from its certificate"),
        ADDRESS,
    ),
    Party.CENTRE: (
        _account("which account fetches the centre's key or reports, from its certificate"),
        ADDRESS,
        REPORT,
    ),
}
"""What each of the parties that every deployment has learns from an honest device."""

MESSAGE: Final = Fact(
    "message",
    "every message: its text and whatever it bears; nothing of it is end-to-end encrypted",
    Severity.CONTENT,
    shows=frozenset({Shows.PICTURE}),
    topic=Topic.SEARCH,
    abuse="reads every message",
    noticed_by="nobody",
)

OF_E2EE: Final = ("session_start", "unverified_keys", "message_order")
"""What there is to tell only where messages are end-to-end encrypted."""

HOST_FACTS: Final = (
    _account("which account asks, from its certificate"),
    ADDRESS,
)
"""What any other party learns that hosts a role."""


NOTICE_TIME: Final = Fact(
    "notice_time",
    "once the centre tells its user of a report, or what was decided: when, and so that there was one, by "
    "who sends it and by its size, with a cover schedule, too; the time can tell what was decided",
    Severity.OUTCOME,
    shows=_OUTCOME,
)

COMPLAINT_FACTS: Final[Mapping[Party, tuple[Fact, ...]]] = {
    Party.CENTRE: (
        Fact(
            "complaint", "which report an account complains about, when, and in which words", Severity.CONTENT
        ),
    ),
    Party.PROVIDER: (
        Fact(
            "complaint_time",
            "once its user complains: that something leaves for the centre beside any schedule, and when; so "
            "that the device had reported a match",
            Severity.OUTCOME,
        ),
    ),
}
"""What a complaint discloses beyond that, once a user makes one, with a cover schedule and without. The
provider stands here for whoever sees the device's traffic."""


def device_facts(
    cover_schedule: bool = False,
    info: Info | None = None,
    consequence: Consequence = Consequence.REPORT,
    franking: FrankingMode = DEFAULT_MODE,
) -> Mapping[Party, tuple[Fact, ...]]:
    """`MESSENGER_FACTS`, `COMPLAINT_FACTS` and `NOTICE_TIME`, and `match_time` for the centre and for
    whoever sees the device's traffic (here: the provider) unless reports are on a cover schedule;
    `HOST_FACTS` for other parties that devices of the design `info` call. A host whose bodies are all
    forwarded learns none. A device that reports nothing, or whose design matches nothing, discloses
    neither report nor time; one that refuses to send discloses `OUTCOME` to the provider, unless its
    design asks nobody. Without end-to-end encryption the provider reads every `MESSAGE`, and messages
    are franked in no mode."""
    matches = info is None or not isinstance(info.relation, Nothing)
    reports = consequence is Consequence.REPORT and matches
    silent = cover_schedule or not reports
    times = {} if silent else {Party.CENTRE: (MATCH_TIME,), Party.PROVIDER: (MATCH_TIME,)}
    if consequence is Consequence.REFUSE and (info is None or info.roles):
        times = {Party.PROVIDER: (OUTCOME,)}
    provider = (*COMPLAINT_FACTS[Party.PROVIDER], NOTICE_TIME)
    later = {**COMPLAINT_FACTS, Party.PROVIDER: provider} if reports else {}
    read = {} if info is None or info.end_to_end else {Party.PROVIDER: (MESSAGE,)}
    franked = not read and (reports or franking is FrankingMode.SIGNATURE)
    proven = {Party.CENTRE: (FRANKING_FACTS[franking],)} if franked else {}
    return {
        party: (
            *(
                fact
                for fact in facts
                if (reports or fact is not REPORT) and not (read and fact.name in OF_E2EE)
            ),
            *read.get(party, ()),
            *proven.get(party, ()),
            *times.get(party, ()),
            *later.get(party, ()),
        )
        for party, facts in _of_parties(info).items()
    }


def _of_parties(info: Info | None) -> Mapping[Party, tuple[Fact, ...]]:
    """What the messenger discloses to each party, and what calls of the design `info` do."""
    called = () if info is None else info.callees
    hidden = set() if info is None else set(info.roles.values()).difference(called, [Party.PROVIDER])
    told = {**dict.fromkeys(called, HOST_FACTS), **MESSENGER_FACTS}
    return {party: facts for party, facts in told.items() if party not in hidden}
