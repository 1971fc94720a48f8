"""The methods a device may call (blindmatch_v1.proto); there are no others."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from google.protobuf.message import Message as Wire
from msgspec import Struct

Q = TypeVar("Q", bound=Wire)
P = TypeVar("P", bound=Wire)


class Method(Struct, Generic[Q, P], frozen=True):
    """A gRPC method.

    Attributes:
        path: its full name.
        request, reply: the messages it takes and gives.
        line: what it is called on a line (line.py), on which it is then called; empty for most.
    """

    path: str
    request: type[Q]
    reply: type[P]
    line: str = ""


_MATCHING: Final = "/blindmatch.v1.Matching/"
_RELAY: Final = "/blindmatch.v1.Relay/"
_CENTRE: Final = "/blindmatch.v1.Centre/"

DESCRIBE: Final = Method(_MATCHING + "Describe", pb.DescribeRequest, pb.Description)
FETCH_SETUP: Final = Method(_MATCHING + "FetchSetup", pb.SetupRequest, pb.Part)
EXCHANGE: Final = Method(_MATCHING + "Exchange", pb.Envelope, pb.Envelope)
EXCHANGE_LARGE: Final = Method(_MATCHING + "ExchangeLarge", pb.Envelope, pb.Envelope)
ENROLLED: Final = Method(_MATCHING + "Enrolled", pb.EnrolmentHead, pb.Held)
ENROL: Final = Method(_MATCHING + "Enrol", pb.EnrolPart, pb.Held)

REGISTER: Final = Method(_RELAY + "Register", pb.RegisterRequest, pb.RegisterReply)
FETCH_BUNDLE: Final = Method(_RELAY + "FetchBundle", pb.BundleRequest, pb.Bundle)
UPLOAD: Final = Method(_RELAY + "Upload", pb.Part, pb.UploadReply)
DOWNLOAD: Final = Method(_RELAY + "Download", pb.DownloadRequest, pb.Part)
SEND: Final = Method(_RELAY + "Send", pb.SendRequest, pb.SendReply, "send")
RECEIVE: Final = Method(_RELAY + "Receive", pb.ReceiveRequest, pb.Delivery, "receive")
ACKNOWLEDGE: Final = Method(_RELAY + "Acknowledge", pb.AcknowledgeRequest, pb.AcknowledgeReply, "acknowledge")
CONNECT: Final = _RELAY + "Connect"

CENTRE_KEY: Final = Method(_CENTRE + "Key", pb.CentreKeyRequest, pb.CentreKey)
SUBMIT: Final = Method(_CENTRE + "Submit", pb.SubmitPart, pb.Receipt)
COMPLAIN: Final = Method(_CENTRE + "Complain", pb.ComplainRequest, pb.Complaint)
SUBMIT_VOUCHER: Final = Method(_CENTRE + "SubmitVoucher", pb.Envelope, pb.Receipt)
