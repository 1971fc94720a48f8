"""The methods a device may call, for which purposes, and which of their fields are opaque."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from blindmatch_client.egress import methods
from blindmatch_client.trace import EgressRecord, Purpose
from google.protobuf.message import Message as Wire

EXCHANGES: Final = ("/blindmatch.v1.Matching/Exchange", "/blindmatch.v1.Matching/ExchangeLarge")
ENROLMENTS: Final = (methods.ENROLLED.path, methods.ENROL.path)
UNCOUNTED: Final = (*EXCHANGES, *ENROLMENTS)
"""What is counted where it is derived again."""
SEND: Final = "/blindmatch.v1.Relay/Send"

REQUESTS: Final[Mapping[str, type[Wire]]] = {
    method.path: method.request for method in vars(methods).values() if isinstance(method, methods.Method)
}

PURPOSES: Final = {
    "Describe": {Purpose.SETUP},
    "FetchSetup": {Purpose.SETUP},
    "Exchange": {Purpose.MATCHING},
    "ExchangeLarge": {Purpose.MATCHING},
    "Enrolled": {Purpose.ENROLMENT},
    "Enrol": {Purpose.ENROLMENT},
    "Register": {Purpose.ACCOUNT},
    "FetchBundle": {Purpose.ACCOUNT, Purpose.MESSAGE},
    "Upload": {Purpose.MESSAGE},
    "Download": {Purpose.MESSAGE},
    "Send": {Purpose.MESSAGE},
    "Receive": {Purpose.MESSAGE},
    "Acknowledge": {Purpose.MESSAGE},
    "Key": {Purpose.ACCOUNT, Purpose.REPORT, Purpose.VOUCHER},
    "Submit": {Purpose.REPORT, Purpose.COVER},
    "SubmitVoucher": {Purpose.VOUCHER},
    "Complain": {Purpose.COMPLAINT},
}


def name_of(record: EgressRecord) -> str:
    """The method's short name."""
    return record.method.rpartition("/")[2]
