"""Whether the policies that devices pin are those of this deployment, and of the epoch that it serves."""

from __future__ import annotations

from collections.abc import Iterator

from blindmatch_proofs.endorsement import FILE, Action, EndorsedTable, EndorsementPolicy
from blindmatch_proofs.epoch import EpochLeaf
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import AnyDesign, Learner
from blindmatch_server.epochs.published import LEAF, open_publication

from blindmatch_simulations.testbed.deployment.device_settings import Settings
from blindmatch_simulations.testbed.deployment.devices import device_names
from blindmatch_simulations.testbed.deployment.doctor.finding import Finding, Status
from blindmatch_simulations.testbed.deployment.endorsement_policy import read_policy, words_of
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.deployment.transparency import read_log

ENDORSE = "blindmatch list propose, list endorse, list publish"


def policies(deployment: Deployment, design: AnyDesign) -> Iterator[Finding]:
    """Hold what the served epoch is endorsed under, and what devices pin, against the deployment's files."""
    try:
        policy, log = read_policy(deployment), read_log(deployment)
    except BlindmatchError as error:
        yield Finding(
            "policies", Status.WRONG, str(error), "bring endorsement.json and log.json back from a backup"
        )
        return
    if deployment.published(design.info.name).is_dir():
        yield _endorsed(deployment, design, policy)
    pinned = None if log is None else log.pinned(design.info.name)
    for name in device_names(deployment):
        try:
            held = Settings.read(deployment, name)
            if load_design(held.design).info.name != design.info.name:
                continue
        except BlindmatchError as error:
            yield Finding(
                f"policies of {name}", Status.WRONG, str(error), "blindmatch device register ANOTHER"
            )
            continue
        pins: dict[str, tuple[object, object]] = {"the log": (held.log, pinned)}
        if Learner.DEVICE in design.info.learns:  # others look at no endorsement
            pins = {"endorsement": (held.endorsement, policy)} | pins
        if words := "; ".join(_pinned(what, *both) for what, both in pins.items() if both[0] != both[1]):
            again = (
                f"blindmatch device register {name} --take-policies, with the options it was registered with"
            )
            yield Finding(f"policies of {name}", Status.WARNING, words, again)


def _pinned(what: str, own: object, deployments: object) -> str:
    """What follows from a device's own policy, which differs from the deployment's."""
    if own is None:
        return f"it pins no policy of {what}, and takes epochs without looking at one"
    if deployments is None:
        return f"it pins a policy of {what} and the deployment has none: it refuses its epochs"
    return f"it pins another policy of {what} than the deployment has, and refuses its epochs"


def _endorsed(deployment: Deployment, design: AnyDesign, policy: EndorsementPolicy | None) -> Finding:
    """Whether the epoch is endorsed under the policy, and for how many epochs more."""
    try:
        publication = open_publication(deployment.published(design.info.name), None, ())
        leaf = EpochLeaf.decode((publication.folder / LEAF).read_bytes())
        encoded = b"" if policy is None else policy.encode()
        if leaf.endorsement_policy != encoded:
            what = f"the policy is {words_of(policy)}, and the served epoch is endorsed under another one"
            return Finding("endorsement", Status.WRONG, what, ENDORSE)
        if policy is None:
            return Finding("endorsement", Status.OK, "no policy: the curator's word is enough")
        epoch = publication.manifest.epoch
        table = EndorsedTable(publication.endorsement()[FILE], design.info, epoch, len(policy.organisations))
    except (OSError, KeyError, BlindmatchError) as error:
        return Finding("endorsement", Status.WRONG, f"the epoch's endorsements: {error}", ENDORSE)
    last = min(one.last_epoch for one in table.batches() if one.action is Action.LIST)
    what = f"{words_of(policy)}; the first endorsements end with epoch {last}, {epoch} is served"
    return Finding(
        "endorsement", Status.WARNING if last <= epoch else Status.OK, what, ENDORSE * (last <= epoch)
    )
