"""Runs one design on the material, over real gRPC between processes, and notes all that can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from blindmatch_client.trace import Purpose
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Content, Flag, Learner, Match, Progress, open_all
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, MATCH_DISTANCE
from blindmatch_server.matching.limits import MatchingLimits
from msgspec import Struct, field
from msgspec.structs import asdict

from blindmatch_simulations.evaluation.assess.alone import extracted, key_use, sessions_alone
from blindmatch_simulations.evaluation.assess.attributing import by_opener, by_server, expected_of
from blindmatch_simulations.evaluation.assess.auditing import audited
from blindmatch_simulations.evaluation.assess.describing import described
from blindmatch_simulations.evaluation.assess.fitting import Fitted, fitted
from blindmatch_simulations.evaluation.assess.harness import added_by_harness
from blindmatch_simulations.evaluation.assess.material import MadeItem, Material
from blindmatch_simulations.evaluation.assess.observed import (
    Built,
    Copies,
    Observed,
    PictureRow,
    ServerCost,
    Traffic,
)
from blindmatch_simulations.evaluation.assess.offences import offend
from blindmatch_simulations.evaluation.assess.plan import Plan
from blindmatch_simulations.evaluation.assess.proving import proven
from blindmatch_simulations.evaluation.assess.updating import updated
from blindmatch_simulations.measure import procfs
from blindmatch_simulations.measure.phases import PhaseTimes
from blindmatch_simulations.testbed.deployment.curating import add_references, lend
from blindmatch_simulations.testbed.deployment.devices import Watched
from blindmatch_simulations.testbed.deployment.processes import ServerProcess
from blindmatch_simulations.testbed.inprocess.deployed import values_of
from blindmatch_simulations.testbed.inprocess.opened import open_published
from blindmatch_simulations.testbed.scenario.seen import sums, watching
from blindmatch_simulations.testbed.scenario.world import World

SENDER: Final = "sender"
RECIPIENT: Final = "recipient"
POOL: Final = 24
"""Pictures that the audit may take decoys from."""


class Observer(Redacted, Struct, frozen=True):
    """One design's run in the new folder `home`; its set is built, or found, below `sets`."""

    home: Path
    sets: Path
    reference: str
    plan: Plan
    material: Material
    phases: PhaseTimes
    seen: dict[str, Any] = field(default_factory=dict)

    def run(self) -> Observed:
        """Build, serve, send, audit, time alone, update.

        Raises:
            BlindmatchError: if a part fails.
        """
        with World.create(self.home, self.reference) as world, ExitStack() as stack:
            with self.phases("set built") as progress:
                fit = stack.enter_context(fitted(world.design, self.material, self.plan, self.sets, progress))
            entries, build = fit.entries, self._build(world, fit)
            self._serve(world, fit)
            self._alone(world, fit)
            with self.phases("set updated"):
                update = updated(world.deployment, world.design, entries, self.plan)
            limits = MatchingLimits().exchanges
            return Observed(
                design=described(world.design, values_of(world.design, self.plan.parameters)),
                entries=len(entries),
                build=build,
                update=update,
                query_rate=limits.per_second,
                query_burst=limits.burst,
                lessened=fit.lessened,
                copies=_copies(len(fit.items), fit.in_all),
                stages=self.phases.seconds,
                **self.seen,
            )

    def _build(self, world: World, fit: Fitted) -> Built:
        kept, entries = fit.kept, fit.entries
        publication = lend(kept.folder, world.published, world.deployment.signer(datetime.now(UTC)))
        with self.phases("centre taught") as progress:
            originals = [Picture.from_bytes(self.material.data(item)) for item in self._originals()]
            add_references(world.deployment, entries, originals, progress)
        self.seen["build_parts"] = kept.spent.parts
        return Built(kept.spent.seconds, kept.spent.cpu_s, len(entries), publication.manifest.setup_bytes)

    def _originals(self) -> list[MadeItem]:
        """Listed pictures as they are."""
        return [item for item in self.material.items() if item.listed and item.edit == "identical"]

    def _serve(self, world: World, fit: Fitted) -> None:
        world.start()
        world.device(RECIPIENT)
        self._send(world, fit.items)
        with self.phases("messages received") as progress:
            self.seen["arrived"] = self._receive(world, fit.items, progress)
        items = self.material.items()[:POOL]
        # nothing is forged that agrees with a picture of the user's own
        pool = [self.material.data(item) for item in items] if self.plan.own is None else None
        with self.phases("egress audited") as progress:
            data = self._audit_items(fit.most(self.plan.audit.pictures))
            self.seen["audit"] = audited(world, RECIPIENT, data, pool, fit.entries, progress)
        with self.phases("offences tried"):
            sent = (self._originals() or self.material.items())[:4]
            self.seen["offence"] = offend(world, RECIPIENT, [self.material.data(item) for item in sent])
        world.check_alive()
        world.close()

    def _send(self, world: World, items: Sequence[MadeItem]) -> None:
        sender = world.device(SENDER)
        before = {party: procfs.tree_cpu_seconds(one.process.pid) for party, one in world.servers.items()}
        with self.phases("pictures matched and sent") as progress:
            rows, self.seen["peak_mib"] = self._rows(world, items, progress)
        world.flush(SENDER)
        rows, opened = self._by_others(world, rows)
        self.seen["pictures"] = tuple(rows)
        self.seen["vouchers_opened"] = opened
        self.seen["servers"] = tuple(_server_cost(one, before[party]) for party, one in world.servers.items())
        self.seen["traffic"] = _traffic(sender)
        sender.device.close()

    def _rows(
        self, world: World, items: Sequence[MadeItem], progress: Progress
    ) -> tuple[list[PictureRow], float | None]:
        rows, recorder = list[PictureRow](), world.of(SENDER).watched.recorder
        before = len(recorder.records())
        resident = procfs.status_mib("VmRSS") if procfs.reset_peak() else None
        for item in items:
            rows.append(self._row(world, item))
            world.check_alive()
            progress(len(rows), len(items))
        peak = procfs.status_mib("VmHWM")
        kept = sum(record.request_bytes for record in recorder.records()[before:]) / (1 << 20)
        return rows, peak - resident - kept if resident is not None and peak is not None else None

    def _row(self, world: World, item: MadeItem) -> PictureRow:
        data, info = self.material.data(item), world.design.info
        with watching(world.of(SENDER).watched) as cost:
            sent = world.send_picture(SENDER, RECIPIENT, data)
        tells = Learner.DEVICE in info.learns or info.learns == {Learner.NOBODY}
        return PictureRow(
            **asdict(item),
            expected=expected_of(info.relation, item, Picture.from_bytes(data)),
            matched=any(isinstance(one.outcome, Match | Flag) for one in cost.traces) if tells else None,
            outcome=str(sent.outcome),
            delivered=sent.delivered,
            up_bytes=cost.up(Purpose.MATCHING),
            down_bytes=cost.down(Purpose.MATCHING),
            report_bytes=cost.up(Purpose.REPORT, Purpose.VOUCHER),
            wall_ms=round(cost.wall_ms, 3),
            cpu_ms=round(cost.cpu_ms, 3),
        )

    def _by_others(self, world: World, rows: list[PictureRow]) -> tuple[list[PictureRow], int]:
        """Fill in what a server alone learnt, from its reports, or the centre; vouchers it opened."""
        design = world.design
        with self.phases("reports checked") as progress:
            least = sum(row.expected for row in rows) if design.info.sends_content is Content.CLEAR else 0
            found = world.checked(least, progress=progress)
        opened = sum(row.opened for row in found.vouchers if row.account == SENDER)
        if design.info.learns == {Learner.SERVER}:
            return by_server(rows, [row.pdq_distance for row in found.reports]), opened
        if design.info.learns == {Learner.CENTRE}:
            files = world.publication().opener()
            period = design.period(design.open_setup(files))
            opened_again = partial(open_all, design.open_opener(files), SENDER, SENDER, period)
            return by_opener(rows, world.of(SENDER).watched.traces, opened_again, opened), opened
        return rows, opened

    def _receive(self, world: World, items: Sequence[MadeItem], progress: Progress) -> int:
        """How many pictures arrived as they were sent."""
        expected = [self.material.data(item) for item in items]
        delivered = [row.delivered for row in self.seen["pictures"]]
        wanted = [data for data, done in zip(expected, delivered, strict=True) if done]
        got = world.receive(RECIPIENT, len(wanted), progress=progress)
        pictures = [one for message in got for one in message.pictures]
        return sum(a == b for a, b in zip(wanted, pictures, strict=False))

    def _audit_items(self, most: int) -> list[bytes]:
        """Half of them listed, where there are enough."""
        listed = self._originals()[: most // 2]
        others = [item for item in self.material.items() if not item.listed][: most - len(listed)]
        return [self.material.data(item) for item in (*listed, *others)]

    def _alone(self, world: World, fit: Fitted) -> None:
        """Time the design by itself, and what the harness adds to it."""
        opened = open_published(world.design, world.publication())
        items = fit.items[: fit.most(self.plan.alone.pictures)]
        pictures = [(item.index, self.material.data(item)) for item in items]
        with self.phases("timed alone") as progress:
            rows, rest = list(fit.alone), pictures[len(fit.alone) :]
            for row in sessions_alone(opened, rest, system_randomness()) if rest else ():
                rows.append(row)
                progress(len(rows), len(pictures))
        with self.phases("harness timed") as progress:
            timed = [data for _, data in pictures] if not fit.dear else []
            pairs = added_by_harness(opened, timed, system_randomness(), progress)
        absent = (Picture.from_bytes(self.material.data(one)) for one in fit.items if _is_absent(one))
        signed, rng = world.publication().signed, system_randomness()
        self.seen["proven"] = proven(opened, signed, fit.entries, next(absent, None), rng)
        key = key_use(opened)
        self.seen.update(alone=tuple(rows), harness=tuple(pairs), key=key, extraction=extracted(opened, key))


def _copies(sent: int, in_all: int) -> Copies:
    why = (
        f"it was sent {sent:,} of {in_all:,} pictures: shares of others do not compare"
        if sent < in_all
        else ""
    )
    return Copies(sent, in_all, why)


def _is_absent(item: MadeItem) -> bool:
    """Is it a picture that no relation has on the list?"""
    return item.list_distance > MATCH_DISTANCE and item.quality >= LEAST_QUALITY


def _server_cost(server: ServerProcess, before: float | None) -> ServerCost:
    after = procfs.tree_cpu_seconds(server.process.pid)
    spent = after - before if after is not None and before is not None else None
    return ServerCost(server.party.server, spent, procfs.status_mib("VmHWM", server.process.pid))


def _traffic(sender: Watched) -> tuple[Traffic, ...]:
    found = sums(sender.recorder.records())
    return tuple(
        Traffic(str(party), str(purpose), *found[party, purpose]) for party, purpose in sorted(found)
    )
