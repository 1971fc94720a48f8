"""What the relay allows an account."""

from __future__ import annotations

from msgspec import Struct

from blindmatch_server.hosting.rate import Rate

DAY_SECONDS = 24 * 60 * 60


class RelayLimits(Struct, frozen=True):
    """Bounds of the relay.

    Attributes:
        most_sealed_bytes: a message.
        most_queued_messages, most_queued_bytes: what waits for one recipient.
        most_blob_bytes: an attachment.
        most_stored_bytes: attachments of one owner together.
        most_one_time_pre_keys: of one account, in one call and not handed out yet.
        retention_seconds: after which messages, attachments and the ids of sent messages are deleted.
        sweep_seconds: how often that is looked after.
        most_wait_ms: how long `Receive` may wait for the next message.
        most_streams: calls of `Receive`, `Upload` and `Connect` that an account has at a time, each.
        calls: an account's calls of one method.
        most_at_work: an account's calls with one reply that are worked on at a time; others wait their turn.
        bundles: an account's calls of `FetchBundle`, which use up others' one-time pre-keys.
        bundles_of_one: the same, of one other account's pre-keys.
    """

    most_sealed_bytes: int = 768 << 10
    most_queued_messages: int = 20_000
    most_queued_bytes: int = 256 << 20
    most_blob_bytes: int = 120 << 20
    most_stored_bytes: int = 4 << 30
    most_one_time_pre_keys: int = 1000
    retention_seconds: float = 30.0 * DAY_SECONDS
    sweep_seconds: float = 600.0
    most_wait_ms: int = 300_000
    most_streams: int = 4
    most_at_work: int = 4
    calls: Rate = Rate(125.0, 250)
    bundles: Rate = Rate(1.0, 100)
    bundles_of_one: Rate = Rate(1 / 60, 10)
