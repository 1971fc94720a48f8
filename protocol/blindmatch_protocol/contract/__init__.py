"""The design contract, version 3: what a design declares and the state machines it consists of.

A design is one file or small folder with one `Design` object. It never opens a file or a socket, reads
no clock and draws no randomness of its own: all that comes in as parameters. Read in this order:
`relation`, `declaration`, `publishing`, `steps`, `design`; `driver` runs a session through its legal steps.

A design needs one import: ``from blindmatch_protocol import contract as bm``. What it takes from other
modules of this package for its messages, errors and randomness is here as well.
"""

from blindmatch_protocol.codec import Bool as Bool
from blindmatch_protocol.codec import Fixed as Fixed
from blindmatch_protocol.codec import Matrix as Matrix
from blindmatch_protocol.codec import Message as Message
from blindmatch_protocol.codec import Nested as Nested
from blindmatch_protocol.codec import Rows as Rows
from blindmatch_protocol.codec import Sequence as Sequence
from blindmatch_protocol.codec import Text as Text
from blindmatch_protocol.codec import UInt as UInt
from blindmatch_protocol.codec import Variable as Variable
from blindmatch_protocol.codec import message as message
from blindmatch_protocol.codec.errors import DesignError as DesignError
from blindmatch_protocol.codec.errors import EpochMismatchError as EpochMismatchError
from blindmatch_protocol.codec.errors import ProtocolError as ProtocolError
from blindmatch_protocol.codec.errors import SetFileError as SetFileError
from blindmatch_protocol.codec.errors import UnopenedError as UnopenedError
from blindmatch_protocol.codec.randomness import Randomness as Randomness
from blindmatch_protocol.contract.declaration import CONTRACT_VERSION as CONTRACT_VERSION
from blindmatch_protocol.contract.declaration import KEY_EXPIRES as KEY_EXPIRES
from blindmatch_protocol.contract.declaration import Adversary as Adversary
from blindmatch_protocol.contract.declaration import Content as Content
from blindmatch_protocol.contract.declaration import Evaluation as Evaluation
from blindmatch_protocol.contract.declaration import Fact as Fact
from blindmatch_protocol.contract.declaration import Info as Info
from blindmatch_protocol.contract.declaration import KeyLimits as KeyLimits
from blindmatch_protocol.contract.declaration import Leak as Leak
from blindmatch_protocol.contract.declaration import Learner as Learner
from blindmatch_protocol.contract.declaration import Parameter as Parameter
from blindmatch_protocol.contract.declaration import Party as Party
from blindmatch_protocol.contract.declaration import Role as Role
from blindmatch_protocol.contract.declaration import Severity as Severity
from blindmatch_protocol.contract.declaration import Shows as Shows
from blindmatch_protocol.contract.declaration import Tie as Tie
from blindmatch_protocol.contract.declaration import Topic as Topic
from blindmatch_protocol.contract.declaration import Vouching as Vouching
from blindmatch_protocol.contract.design import AnyDesign as AnyDesign
from blindmatch_protocol.contract.design import Design as Design
from blindmatch_protocol.contract.design import Extraction as Extraction
from blindmatch_protocol.contract.design import ListKnowledge as ListKnowledge
from blindmatch_protocol.contract.design import Parts as Parts
from blindmatch_protocol.contract.design import WorkedOut as WorkedOut
from blindmatch_protocol.contract.driver import Exchange as Exchange
from blindmatch_protocol.contract.driver import Session as Session
from blindmatch_protocol.contract.driver import SessionError as SessionError
from blindmatch_protocol.contract.driver import answered as answered
from blindmatch_protocol.contract.driver import concluded as concluded
from blindmatch_protocol.contract.publishing import Buffers as Buffers
from blindmatch_protocol.contract.publishing import EntryBatch as EntryBatch
from blindmatch_protocol.contract.publishing import EntrySource as EntrySource
from blindmatch_protocol.contract.publishing import Executor as Executor
from blindmatch_protocol.contract.publishing import Progress as Progress
from blindmatch_protocol.contract.publishing import Published as Published
from blindmatch_protocol.contract.publishing import SetParameters as SetParameters
from blindmatch_protocol.contract.publishing import Stated as Stated
from blindmatch_protocol.contract.publishing import Workspace as Workspace
from blindmatch_protocol.contract.publishing import Writer as Writer
from blindmatch_protocol.contract.publishing import batches_of as batches_of
from blindmatch_protocol.contract.publishing import no_progress as no_progress
from blindmatch_protocol.contract.relation import HASH_BITS as HASH_BITS
from blindmatch_protocol.contract.relation import MINIMUM_QUALITY as MINIMUM_QUALITY
from blindmatch_protocol.contract.relation import Category as Category
from blindmatch_protocol.contract.relation import Equal as Equal
from blindmatch_protocol.contract.relation import Item as Item
from blindmatch_protocol.contract.relation import Near as Near
from blindmatch_protocol.contract.relation import Nothing as Nothing
from blindmatch_protocol.contract.relation import Relation as Relation
from blindmatch_protocol.contract.steps import CERTIFYING as CERTIFYING
from blindmatch_protocol.contract.steps import NO_LABEL as NO_LABEL
from blindmatch_protocol.contract.steps import UNBOUND as UNBOUND
from blindmatch_protocol.contract.steps import Answer as Answer
from blindmatch_protocol.contract.steps import Binding as Binding
from blindmatch_protocol.contract.steps import Done as Done
from blindmatch_protocol.contract.steps import Enrolment as Enrolment
from blindmatch_protocol.contract.steps import Flag as Flag
from blindmatch_protocol.contract.steps import Hidden as Hidden
from blindmatch_protocol.contract.steps import Label as Label
from blindmatch_protocol.contract.steps import Match as Match
from blindmatch_protocol.contract.steps import NoMatch as NoMatch
from blindmatch_protocol.contract.steps import NoState as NoState
from blindmatch_protocol.contract.steps import Opener as Opener
from blindmatch_protocol.contract.steps import Outcome as Outcome
from blindmatch_protocol.contract.steps import Ready as Ready
from blindmatch_protocol.contract.steps import Request as Request
from blindmatch_protocol.contract.steps import Send as Send
from blindmatch_protocol.contract.steps import Started as Started
from blindmatch_protocol.contract.steps import Step as Step
from blindmatch_protocol.contract.steps import Taken as Taken
from blindmatch_protocol.contract.steps import Undisclosed as Undisclosed
from blindmatch_protocol.contract.steps import Verdict as Verdict
from blindmatch_protocol.contract.steps import Visible as Visible
from blindmatch_protocol.contract.steps import Voucher as Voucher
from blindmatch_protocol.contract.steps import check_epoch as check_epoch
from blindmatch_protocol.contract.steps import open_all as open_all
from blindmatch_protocol.contract.steps import tried as tried
