"""Whether the served epoch is in the log, who cosigned it, and for how long devices take its proof."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from blindmatch_proofs.epoch import DAY_S, EpochLeaf, verify_logged
from blindmatch_proofs.tlog_policy import Accepted
from blindmatch_proofs.tlog_proof import TlogProof
from blindmatch_proofs.verdict import Failed
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import AnyDesign
from blindmatch_server.epochs.logged import read_logged
from blindmatch_server.epochs.published import current_epoch

from blindmatch_simulations.testbed.deployment.doctor.finding import Finding, Status
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.transparency import read_log

RENEW = "blindmatch log renew"


def logged(deployment: Deployment, design: AnyDesign, now: datetime) -> Iterator[Finding]:
    """Hold the proof beside the served epoch against the policy that devices pin."""
    folder = deployment.published(design.info.name)
    try:
        log = read_log(deployment)
        if log is None:
            what = "no log, so devices pin no policy: an epoch for one user alone is not noticed"
            if not deployment.authority.is_dir():
                yield Finding("log", Status.OK, what)
                return
            new = "make a new deployment, and there before its first epoch: " if folder.is_dir() else ""
            yield Finding("log", Status.WARNING, what, f"{new}blindmatch log init")
            return
        if not folder.is_dir():
            return
        held = read_logged(folder / str(current_epoch(folder)))
        if held is None:
            yield Finding("log", Status.WRONG, "the served epoch is not logged", "blindmatch list build NAME")
            return
        pinned, proof = log.pinned(design.info.name), TlogProof.parse(held.proof)
        leaf = EpochLeaf.decode(held.leaf)
        signed = leaf.verify(deployment.curator_public_key())
        found = verify_logged(leaf, proof, pinned, int(now.timestamp()))
    except BlindmatchError as error:
        remedy = "bring log.json back from a backup, or publish a newer epoch: blindmatch list build NAME"
        yield Finding("log", Status.WRONG, str(error), remedy)
        return
    for one, remedy in ((signed, "blindmatch list build NAME"), (found, RENEW)):
        if isinstance(one, Failed):
            yield Finding("log", Status.WRONG, f"no device takes the epoch: {one.reason}", remedy)
            return
    assert isinstance(found, Accepted)
    seen = ", ".join(sorted(found.witnesses))
    what = f"epoch {found.head.size} is logged, cosigned by {seen}"
    if pinned.is_due(proof, int(now.timestamp())):
        days = pinned.most_age_s / 2 / DAY_S
        yield Finding("log", Status.WARNING, f"{what}, which is too old in {days:g} days or less", RENEW)
    else:
        yield Finding("log", Status.OK, what)
    if missing := ", ".join(sorted(pinned.policy.witnesses.keys() - found.witnesses)):
        what = f"no cosignature of {missing}, or one that is too old"
        yield Finding("witnesses", Status.WARNING, what, f"blindmatch serve it, then {RENEW}")
