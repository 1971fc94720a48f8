"""The design contract, version 2: what a design declares and the state machines it consists of.

A design is one file or small folder with one `Design` object. It never opens a file or a socket, reads
no clock and draws no randomness of its own: all that comes in as parameters. Read in this order:
`item`, `entries`, `outcome`, `party`, `declaration`, `design`; `driver` runs a session through its legal
steps.
"""

from blindmatch_protocol.contract.binding import UNBOUND, Binding
from blindmatch_protocol.contract.declaration import (
    CONTRACT_VERSION,
    KEY_EXPIRES,
    Adversary,
    Fact,
    Info,
    KeyLimits,
    Leak,
    Learner,
    Parameter,
    Role,
)
from blindmatch_protocol.contract.design import (
    Answer,
    AnyDesign,
    Design,
    Enrolment,
    NoState,
    Published,
    Request,
    SetParameters,
    Started,
    Stated,
    Verdict,
)
from blindmatch_protocol.contract.driver import Exchange, Session, SessionError, answered, concluded
from blindmatch_protocol.contract.entries import EntryBatch, EntrySource, batches_of
from blindmatch_protocol.contract.files import Buffers, Progress, Workspace, Writer, no_progress
from blindmatch_protocol.contract.item import Item
from blindmatch_protocol.contract.opener import Hidden, Opener, Taken, Visible, open_all
from blindmatch_protocol.contract.outcome import (
    Done,
    Flag,
    Label,
    Match,
    NoMatch,
    Outcome,
    Ready,
    Send,
    Step,
    Undisclosed,
    Voucher,
)
from blindmatch_protocol.contract.party import Party
from blindmatch_protocol.contract.relation import Category, Equal, Near, Nothing, Relation

__all__ = [
    "CONTRACT_VERSION",
    "KEY_EXPIRES",
    "UNBOUND",
    "Adversary",
    "Answer",
    "AnyDesign",
    "Binding",
    "Buffers",
    "Category",
    "Design",
    "Done",
    "Enrolment",
    "EntryBatch",
    "EntrySource",
    "Equal",
    "Exchange",
    "Fact",
    "Flag",
    "Hidden",
    "Info",
    "Item",
    "KeyLimits",
    "Label",
    "Leak",
    "Learner",
    "Match",
    "Near",
    "NoMatch",
    "NoState",
    "Nothing",
    "Opener",
    "Outcome",
    "Parameter",
    "Party",
    "Progress",
    "Published",
    "Ready",
    "Relation",
    "Request",
    "Role",
    "Send",
    "Session",
    "SessionError",
    "SetParameters",
    "Started",
    "Stated",
    "Step",
    "Taken",
    "Undisclosed",
    "Verdict",
    "Visible",
    "Voucher",
    "Workspace",
    "Writer",
    "answered",
    "batches_of",
    "concluded",
    "no_progress",
    "open_all",
]
