"""Messages, and how they and their fields are encoded."""

from blindmatch_protocol.codec.message import Bool as Bool
from blindmatch_protocol.codec.message import Buffer as Buffer
from blindmatch_protocol.codec.message import Fixed as Fixed
from blindmatch_protocol.codec.message import Matrix as Matrix
from blindmatch_protocol.codec.message import Message as Message
from blindmatch_protocol.codec.message import Nested as Nested
from blindmatch_protocol.codec.message import Reader as Reader
from blindmatch_protocol.codec.message import Rows as Rows
from blindmatch_protocol.codec.message import Sequence as Sequence
from blindmatch_protocol.codec.message import Text as Text
from blindmatch_protocol.codec.message import UInt as UInt
from blindmatch_protocol.codec.message import Variable as Variable
from blindmatch_protocol.codec.message import decode_any as decode_any
from blindmatch_protocol.codec.message import layout as layout
from blindmatch_protocol.codec.message import most_bytes as most_bytes
