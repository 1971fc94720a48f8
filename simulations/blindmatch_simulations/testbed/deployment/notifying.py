"""Delivers the centre's notices: a device of the centre sends each as an encrypted message.

A crash before the centre notes one as sent sends it again; its number, at the end of the text, is the same
then. All have one size: texts are padded, and each is the first to its account since the device was opened,
so that a checkpoint of the log comes with all of them or none.
"""

from __future__ import annotations

from typing import Any

from blindmatch_client.device import Device
from blindmatch_client.errors import RefusedError
from blindmatch_protocol.account_name import NOTICE_BYTES
from blindmatch_protocol.account_name import NOTICES as ACCOUNT
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.keys import NOTICES_KEY
from blindmatch_server.storage.key_files import read_key
from msgspec import Struct

from blindmatch_simulations.testbed.deployment.devices import create_device, open_device
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.operators import ask_centre


class Delivered(Struct, frozen=True):
    """What became of a notice; `problem` is empty if the messenger took it."""

    notice: pb.Notice
    problem: str = ""


def deliver(deployment: Deployment, design: str, **more: Any) -> list[Delivered]:
    """Send every notice that is due, and what waits in the centre's outbox from before; `ServiceError` if the
    centre's account cannot be registered.

    Args:
        design: what the deployment's matcher serves; the device needs a set-up like any other.
        more: of the device, as of `connect`.
    """
    due = ask_centre(deployment, "DueNotices", pb.DueNoticesRequest(), pb.NoticeList).notices
    return [_sent(deployment, design, notice, more) for notice in due]


def _sent(deployment: Deployment, design: str, notice: pb.Notice, more: dict[str, Any]) -> Delivered:
    device = _device(deployment, design, more)
    try:
        device.flush()
        device.send_text(notice.account, padded(notice.text))
        request = pb.NoticeSentRequest(notice_id=notice.notice_id)
        return Delivered(ask_centre(deployment, "NoticeSent", request, pb.Notice))
    except RefusedError as error:
        return Delivered(notice, str(error))
    finally:
        device.close()


def padded(text: str) -> str:
    """A notice's text at its one size."""
    return text.encode().ljust(NOTICE_BYTES).decode()


def _device(deployment: Deployment, design: str, more: dict[str, Any]) -> Device:
    made = (deployment.device(ACCOUNT) / "device.json").exists()
    if made:
        watched = open_device(deployment, ACCOUNT, **more)
    else:
        identity = read_key(deployment.centre_keys / NOTICES_KEY)
        watched = create_device(deployment, ACCOUNT, design, identity=identity, **more)
    try:
        # an earlier registration may not have come to its end
        if not watched.device.registered:
            watched.device.register()
    except BlindmatchError:
        watched.device.close()
        raise
    return watched.device
