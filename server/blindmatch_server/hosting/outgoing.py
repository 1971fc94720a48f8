"""Channels from one server to another, under the caller's certificate."""

from __future__ import annotations

from typing import Final

import grpc
import grpc.aio
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.parts import MOST_SMALL_BYTES

from blindmatch_server.hosting.authority import Credentials

_FRAMES: Final = 64 << 10


def channel_to(party: Party, address: str, held: Credentials, *more: tuple[str, int]) -> grpc.aio.Channel:
    """A channel to the server that `party` runs at `address`; no proxy, no connection shared with others.

    `more` are further options of gRPC.
    """
    secured = grpc.ssl_channel_credentials(held.root, held.key, held.certificate)
    options = [
        ("grpc.ssl_target_name_override", party.dns_name),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", MOST_SMALL_BYTES + _FRAMES),
        *more,
    ]
    return grpc.aio.secure_channel(address, secured, options)
