"""Declarations as Markdown, for the designs' pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Final

from blindmatch_protocol.codec import Message, layout
from blindmatch_protocol.contract import (
    Adversary,
    AnyDesign,
    Content,
    Evaluation,
    Fact,
    Info,
    Learner,
    Party,
    Role,
    Tie,
    Vouching,
)
from blindmatch_protocol.contract.design import coalitions, told

WIDTH: Final = 128
LARGE: Final = 1 << 16
LEFT: Final = "device"
BEGIN: Final = "<!-- from the declaration of {}: make pages -->"
END: Final = "<!-- end of the declaration -->"
CONTENT: Final = {
    Content.NO: "to no server",
    Content.SEALED: "to a role, under a seal that its party is not to open",
    Content.CLEAR: "to a server, in the clear",
}
TIE: Final = {
    Tie.NONE: "is not shown",
    Tie.KEY: "is verified under a key in the set-up",
    Tie.QUOTE: "is for an enclave's quote to show",
}
OUTCOME: Final = "outcome"
EVALUATION: Final = {
    Evaluation.LOCAL: "on the device",
    Evaluation.CLEAR: "in the clear",
    Evaluation.SEALED: "in the clear, under a seal towards whoever carries or hosts it",
    Evaluation.OPRF: "blinded, by an OPRF",
    Evaluation.HOMOMORPHIC: "under homomorphic encryption",
    Evaluation.SHARED: "in shares, of which each alone is random",
}


def markdown(design: AnyDesign) -> str:
    """The declaration between its two markers."""
    parts = (_declared(design), _messages(design), _parameters(design.info), _learns(design))
    return "\n\n".join((BEGIN.format(design.info.name), *filter(None, parts), END)) + "\n"


def _declared(design: AnyDesign) -> str:
    info = design.info
    option = f"nearest to {info.option}: {info.differs}" if info.differs else info.option
    recall = f"; {100 * info.relation.recall:.3g} % of them found at least, as parameters are by default"
    rows = [
        ("option", option),
        ("a match", info.relation.words + (recall if info.relation.recall < 1 else "")),
        ("learns the outcome", ", ".join(sorted(info.learns))),
        ("roles", "; ".join(_role(info, role) for role in info.roles) or "none"),
        ("must not collude", "; ".join(" and ".join(sorted(group)) for group in info.apart)),
        ("that a role uses the epoch's list", TIE[info.tie] if info.roles else ""),
        ("what is asked is compared", EVALUATION[info.evaluation] if info.roles else ""),
        ("pictures go", CONTENT[info.sends_content]),
        *_vouching(info.vouching),
        ("messages", "end-to-end encrypted" if info.end_to_end else "in the clear to the provider"),
        ("randomness that no tape covers", info.native_randomness),
        ("a device can test guesses alone", "yes, without limit" if design.alone else "no"),
    ]  # fmt: skip
    return "## Declaration\n" + markdown_table(("", ""), [row for row in rows if row[1]])


def _vouching(vouching: Vouching | None) -> list[tuple[str, str]]:
    if vouching is None:
        return []
    told = (vouching.tells, vouching.visible, vouching.opened)
    return list(zip(("a voucher tells the centre", "it is visible", "it opens"), told, strict=True))


def _role(info: Info, role: Role) -> str:
    carrier = info.forwarded.get(role)
    words = f"{role}, at the {info.roles[role]}"
    words += f", reached through the {carrier}" if carrier else ""
    return words + (", in worker processes" if info.in_processes & {role} else "")


def _messages(design: AnyDesign) -> str:
    blocks = [block for role in design.info.roles for block in _ladder(design, role)]
    if design.vouchers:
        blocks += [f"{LEFT:<60} {Party.CENTRE}", *(_sent(kind) for kind in design.vouchers)]
    return "## Messages\n```\n" + "\n".join(blocks) + "\n```" if blocks else ""


def _ladder(design: AnyDesign, role: Role) -> Iterator[str]:
    info = design.info
    carrier = f" (through the {info.forwarded[role]})" if role in info.forwarded else ""
    yield f"{LEFT:<60} {info.roles[role]}{carrier}"
    yield from (f"{_sent(kind)}   when an account enrols" for kind in design.enrolments.get(role, ()))
    yield from map(_sent, design.requests[role])
    yield from (f"  <-- {_named(kind)} ".ljust(60, "-") for kind in design.replies[role])


def _sent(kind: type[Message]) -> str:
    return f"  --- {_named(kind)} ".ljust(57, "-") + "-->"


def _named(kind: type[Message]) -> str:
    fields = ", ".join(name for name, _ in layout(kind))
    return f"{kind.NAME}: {fields}" if fields else kind.NAME


def _parameters(info: Info) -> str:
    rows = []
    for p in info.parameters:
        least = _count(p.least)
        most = _count(p.most)
        rows.append((f"`{p.name}`", _count(p.default), f"{least} to {most}", p.unit, p.says))
    return (
        "## Parameters\n" + markdown_table(("parameter", "default", "range", "unit", ""), rows)
        if rows
        else ""
    )


def _count(value: int) -> str:
    """A large power of two as one."""
    large = value >= LARGE and value.bit_count() == 1
    return f"2^{value.bit_length() - 1}" if large else str(value)


def _learns(design: AnyDesign) -> str:
    alone = (frozenset({Party.DEVICE}), frozenset({Party.PROVIDER}))
    found = dict.fromkeys((*alone, *coalitions(design)))
    head = ("who", "semi-honest", "malicious", "listed pictures, from what it stores")
    facts = {
        fact.name: fact for parties in found for kind in Adversary for fact in told(design, parties, kind)
    }
    words = "What the messenger tells, whatever the design: [threat model](../explanation/threat-model.md)."
    parts = [
        "## Who learns what\n" + markdown_table(head, [_coalition(design, parties) for parties in found]),
        "\n".join(_fact(fact) for fact in facts.values()),
        words,
    ]
    return "\n\n".join(filter(None, parts))


def _coalition(design: AnyDesign, parties: frozenset[Party]) -> tuple[str, ...]:
    cells = [names_told(design, parties, adversary) for adversary in Adversary]
    return (" with ".join(sorted(parties)), *cells, design.list_knowledge(parties).says)


def names_told(design: AnyDesign, parties: frozenset[Party], adversary: Adversary) -> str:
    names = [fact.name for fact in told(design, parties, adversary)]
    outcome = [OUTCOME] if learns_outcome(design.info, parties) else []
    return ", ".join(f"`{name}`" for name in (*outcome, *names)) or "nothing"


def learns_outcome(info: Info, parties: frozenset[Party]) -> bool:
    """Is the outcome of an honest run among what these parties get?"""
    served = parties & set(info.roles.values())
    return (
        (Learner.DEVICE in info.learns and Party.DEVICE in parties)
        or (Learner.SERVER in info.learns and bool(served))
        or (Learner.CENTRE in info.learns and Party.CENTRE in parties)
    )


def _fact(fact: Fact) -> str:
    return "\n  ".join(wrap(f"- `{_plain(fact.name)}`: {_plain(fact.says)}", WIDTH))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruled = "|" + "---|" * len(head)
    lines = ["| " + " | ".join(map(_plain, cells)) + " |" for cells in (head, *rows)]
    return "\n".join((lines[0].replace("|  |", "| |").replace("|  |", "| |"), ruled, *lines[1:]))


def _plain(words: str) -> str:
    """A plug-in's words, which make no markup and no further cell or line of it."""
    one_line = re.sub(r"\s*\n\s*", " ", words).replace("|", "\\|")
    return re.sub("<(?=[a-zA-Z/!?])", "&lt;", one_line)
