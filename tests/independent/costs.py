"""What a design costs, from the recorded rows of a run: `docs/explanation/report.md` defines each figure."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

DAY_MS = 86_400_000
CONSTANT = 1_000
"""Bytes up to which what a picture or a set-up takes is taken not to grow with the list."""
Ends = tuple[float, float]


class Recorded:
    """A design's recorded rows, beside its row of results.json."""

    def __init__(self, folder: Path, row: dict[str, Any], longest_u: float = 0.0) -> None:
        self.row = row
        self.name: str = row["id"]
        lines = (folder / "rows" / f"{self.name}.jsonl").read_text("utf-8").splitlines()
        read = [json.loads(line) for line in lines]
        self.run = next(one for one in read if one["kind"] == "run")
        self.sent = [one for one in read if one["kind"] == "photographs"]
        self.alone = [one for one in read if one["kind"] == "alone"]
        self.checks = [one for one in read if one["kind"] == "checks"]
        self.entries = int(self.run["entries"])
        self.longest_u = longest_u

    # ---- what is declared

    @property
    def relation(self) -> str:
        return str(self.row["design"]["relation"])

    @property
    def asks(self) -> bool:
        return bool(self.row["design"]["roles"])

    @property
    def vouches(self) -> bool:
        return "centre" in self.row["design"]["learns"]

    @property
    def is_end_to_end(self) -> bool:
        return bool(self.row["design"]["end_to_end"])

    # ---- CPU

    @property
    def server_ms(self) -> float:
        """The larger of the servers' CPU a picture sent, and of the mean of the answers alone."""
        parties = {
            "relay" if party == "provider" else party for party in self.row["design"]["roles"].values()
        }
        whole = (
            1000
            * sum(one["cpu_s"] for one in self.run["servers"] if one["party"] in parties)
            / len(self.sent)
        )
        return max(whole, self.answer_ms)

    @property
    def answer_ms(self) -> float:
        return fmean(one["role_cpu_ms"] for one in self.alone)

    @property
    def phone_ms(self) -> float:
        """Decoding and hashing, and the protocol; nothing where the provider matches what it reads."""
        if not self.is_end_to_end:
            return 0.0
        return fmean(one["device_cpu_ms"] + one["picture_cpu_ms"] for one in self.alone)

    @property
    def longest(self) -> int:
        return max(self.entries, int((self.run.get("lengths") or {}).get("entries") or 0))

    def _longer(self, here: float, figure: str, real: int, u_ms: float) -> Ends:
        """Return the ends of CPU at a list of `real` entries, or at the longest that was timed.

        They follow the committed slope; a slope whose interval has 0 in it is none.
        """
        low, high = (float(self.row["figures"][figure][end]) for end in ("low", "high"))
        if low <= 0:
            return (here, here)
        more = min(real, self.longest) - self.entries
        return (here + low * u_ms / 1000 * more, here + high * u_ms / 1000 * more)

    @property
    def u_ms(self) -> float:
        """CPU of a u beside the answers, as the row's two figures of the same answers give it."""
        figures = self.row["figures"]
        if figures["server_u"]["value"]:
            return float(figures["matcher_cpu_ms"]["value"] / figures["server_u"]["value"])
        return 0.0

    def server_at(self, real: int) -> Ends:
        return self._longer(self.server_ms, "server_growth_u", real, self.u_ms)

    def phone_at(self, real: int) -> Ends:
        if not self.is_end_to_end:
            return (0.0, 0.0)
        return self._longer(self.phone_ms, "device_growth_u", real, self.longest_u)

    # ---- bytes

    @property
    def setup(self) -> float:
        return float(self.run["build"]["setup_bytes"]) + float(self.run.get("model_bytes") or 0)

    @property
    def update(self) -> float:
        made = self.run["update"] or {"fetched_bytes": 0, "built": None}
        if made["fetched_bytes"] is None:
            return float(made["built"]["setup_bytes"])
        return float(made["fetched_bytes"])

    @property
    def up(self) -> float:
        """Bytes up of a picture: requests, or its voucher."""
        return fmean(one["up_bytes"] + one["voucher_bytes"] for one in self.sent)

    @property
    def down(self) -> float:
        return fmean(one["down_bytes"] for one in self.sent)

    def _grown(self, value: float, here: int, there: int, slope: float | None) -> Ends:
        if there == here or value <= CONSTANT:
            return (value, value)
        if slope is None:
            return (min(value, value * there / here), max(value, value * there / here))
        end = max(0.0, value + slope * (there - here))
        return (end, end)

    def setup_at(self, length: int, value: float | None = None) -> Ends:
        first, other = self.run["lengths"]["setup_bytes"]
        slope = (other - first) / (self.run["lengths"]["entries"] - self.entries)
        return self._grown(self.setup if value is None else value, self.entries, length, slope)

    def update_at(self, length: int) -> Ends:
        if str(self.row["figures"]["update_bytes"]["why"]).startswith("a whole set"):
            return self.setup_at(length, self.update)
        return (self.update, self.update)

    def asked_at(self, length: int) -> Ends:
        """Bytes of a picture, up and down; how far an answer grows is known by its two ends alone."""
        if self.relation == "nothing" or not (self.asks or self.vouches):
            return (0.0, 0.0)
        lengths = self.run["lengths"]
        # a voucher's length follows from the design's parameters, whatever the list
        same = self.vouches or [one["bytes"] for one in lengths["own"]] == [
            one["bytes"] for one in lengths["other"]
        ]
        if same:
            return (self.up + self.down, self.up + self.down)
        up, down = (self._grown(one, self.entries, length, None) for one in (self.up, self.down))
        return (up[0] + down[0], up[1] + down[1])

    def user_year(self, length: int, items: float, setups: float, updates: float) -> Ends:
        """Bytes of a user and year: pictures, whole set-ups, updates."""
        asked = self.asked_at(length)
        setup = self.setup_at(length)
        update = self.update_at(length)
        low, high = (items * asked[end] + setups * setup[end] + updates * update[end] for end in (0, 1))
        return (low, high)

    @property
    def not_run(self) -> tuple[int, int]:
        """Checks that were not run, of all."""
        checks = self.row["checks"]
        return sum(one["verdict"] == "not checked" for one in checks), len(checks)

    @property
    def cut(self) -> tuple[int, int] | None:
        """Test pictures that were not sent, of all."""
        copies = self.run["copies"]
        return (copies["in_all"] - copies["sent"], copies["in_all"]) if copies["why"] else None

    @property
    def found(self) -> tuple[int, int]:
        """Listed copies that ended as a match, and all that were sent."""
        listed = [one for one in self.sent if one["listed"]]
        return sum(one["matched"] for one in listed), len(listed)

    def stated_threshold(self) -> int:
        return int(self.row["design"]["parameters"].get("threshold", 1))

    def synthetic(self) -> float:
        return float(self.row["design"]["parameters"].get("synthetic", 0)) / 1000
