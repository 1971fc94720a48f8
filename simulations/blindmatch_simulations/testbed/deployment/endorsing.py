"""Endorsed lists of a local deployment: the policy, each organisation's steps, the curator's, and audits.

HOME/organisations/NAME/LIST.list    hashes of its own pictures
HOME/curator/submissions/LIST/       what organisations submitted, NAME.list, and NAME.sig
HOME/curator/endorsement/DESIGN/     proposal, endorsements and records (`curator.endorsement.records`)
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from blindmatch_proofs.endorsement import FILE, EndorsedTable, Terms, verify_label, verify_table
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import AnyDesign, EntryBatch, Label, Progress, no_progress
from blindmatch_protocol.contract.publishing import HeldEntries
from blindmatch_server.curator import Summary, list_hashes, list_pictures, open_list
from blindmatch_server.curator.endorsement.batches import (
    Batches,
    EndorsementError,
    SignedProposal,
    change,
    check_submission,
)
from blindmatch_server.curator.endorsement.proposing import Audited, Records, Settled, Span, propose, settle
from blindmatch_server.curator.entry_ids import take_ids
from blindmatch_server.curator.hashlist import ENDORSED, FIRST_ID, write_entries
from blindmatch_server.epochs.building import SEED_BYTES
from blindmatch_server.epochs.published import Publication, open_publication, read_signed
from blindmatch_server.hosting.workers import WorkerPool
from blindmatch_server.storage.files import MappedFile
from msgspec.structs import replace

from blindmatch_simulations.testbed.deployment.curating import (
    LIST_SUFFIX,
    list_path,
    next_epoch,
    open_named,
    publish,
    publish_change,
    throwaway_signer,
)
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.sources import (
    Succession,
    is_as_published,
    prepare_ids,
    succession,
)
from blindmatch_simulations.testbed.deployment.transparency import (
    check_named,
    key_of,
    read_policy,
    terms_of,
)

EPOCHS: Final = 52
"""How many epochs an endorsement holds, if nobody says."""
_SIGNATURE: Final = ".sig"


def records_of(deployment: Deployment, design: AnyDesign) -> Records:
    folder = deployment.home / "curator" / "endorsement" / design.info.name
    return Records(folder, design.info, terms_of(deployment, design).policy)


def own_list(deployment: Deployment, name: str, listed: str) -> Path:
    return deployment.home / "organisations" / name / f"{listed}{LIST_SUFFIX}"


def submit(
    deployment: Deployment,
    name: str,
    listed: str,
    pictures: Sequence[Path],
    rng: Randomness,
    progress: Progress = no_progress,
) -> Summary:
    """Hash an organisation's pictures and submit the hashes, in place of what it submitted before."""
    check_named(deployment, name)
    path = own_list(deployment, name, listed)
    summary = list_pictures(pictures, path, rng, replace=True, progress=progress)
    hand_in(deployment, name, listed)
    return summary


def withdraw(deployment: Deployment, name: str, listed: str, entry: int, rng: Randomness) -> int:
    """Have an organisation no longer vouch for an entry of a list; how many hashes it still submits;
    `EndorsementError` if the list has no such entry, or it is of no picture of the organisation."""
    with open_named(deployment, listed) as entries:
        rows = np.flatnonzero(entries.ids == entry)
        if not len(rows):
            raise EndorsementError(f"list {listed} has no entry {entry}")
        gone = entries.hashes[rows[0]].copy()
    path = own_list(deployment, name, listed)
    with open_list(path) as own:
        rest = own.hashes[(own.hashes != gone).any(axis=1)]
        if len(rest) == len(own):
            raise EndorsementError(f"entry {entry} is of no picture of {name}")
        if len(rest):
            list_hashes(rest, path, rng, replace=True)
            hand_in(deployment, name, listed)
            return len(rest)
    for held in (path, _submitted(deployment, name, listed)):
        held.unlink()
    return 0


def hand_in(deployment: Deployment, name: str, listed: str) -> None:
    """Sign an organisation's hashes and give them to the curator."""
    path = own_list(deployment, name, listed)
    submitted = _submitted(deployment, name, listed)
    submitted.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open_list(path) as own:
        signature = key_of(deployment, name).submission(deployment.curator_public_key(), own.footer.digest())
    submitted.with_suffix(_SIGNATURE).write_text(signature.hex() + "\n")
    shutil.copyfile(path, submitted)


def submissions(deployment: Deployment, terms: Terms, listed: str) -> dict[str, Rows]:
    """What organisations of the policy submitted for a list, each signed by a key of its own;
    `EndorsementError` if one is not."""
    found = dict[str, Rows]()
    for name in terms.policy.names:
        path = _submitted(deployment, name, listed)
        if not path.exists():
            continue
        with open_list(path) as submitted:
            try:
                signature = bytes.fromhex(path.with_suffix(_SIGNATURE).read_text())
            except (OSError, ValueError):
                raise EndorsementError(f"the submission of {name} bears no signature") from None
            keys = [one.key for one in terms.policy.organisations if one.name == name]
            check_submission(keys, terms.deployment, submitted.footer.digest(), signature)
            found[name] = submitted.hashes.copy()
    return found


def make_proposal(
    deployment: Deployment,
    design: AnyDesign,
    listed: str,
    rng: Randomness,
    epochs: int = EPOCHS,
    batch: int = 0,
) -> Batches:
    """Propose what the next epoch lists and removes, to be endorsed for so many epochs (see `Span`)."""
    terms = terms_of(deployment, design)
    records = records_of(deployment, design)
    before = records.never_given(_before(deployment, design, listed))
    epoch = next_epoch(deployment.published(design.info.name))
    span = Span(epoch, epoch + epochs - 1, batch)
    prepare_ids(deployment)
    first = take_ids(deployment.lists, 0, before.next_id)
    before = replace(before, next_id=first)
    proposal = propose(terms, span, submissions(deployment, terms, listed), before, rng)
    if take_ids(deployment.lists, proposal.next_id - first, first) != first:
        raise EndorsementError("an import took ids meanwhile: propose again")
    records.propose(proposal)
    return proposal


def endorse(deployment: Deployment, design: AnyDesign, name: str, listed: str) -> SignedProposal:
    """Have an organisation sign what it knows of the proposal by its own pictures."""
    records = records_of(deployment, design)
    with open_list(own_list(deployment, name, listed)) as own:
        made = key_of(deployment, name).endorse(
            name, terms_of(deployment, design), records.proposal(), own.hashes
        )
    records.endorse(name, made)
    return made


def publish_endorsed(
    deployment: Deployment,
    design: AnyDesign,
    listed: str,
    rng: Randomness,
    progress: Progress = no_progress,
    delta: bool = False,
    approve: Callable[[Succession], None] = lambda succession: None,
    **more: Any,
) -> tuple[Publication, Settled]:
    """Publish what enough organisations endorsed as the next epoch, and write it as the list `listed`; with
    `delta` as the change since the epoch before alone. `rng` gives the build's seed; `approve` raises, before
    anything is written, if what this does to the current epoch is not wanted; `more` is as of
    `curating.publish`."""
    terms = terms_of(deployment, design)
    records = records_of(deployment, design)
    proposal = records.proposal()
    before = _before(deployment, design, listed)
    epoch = next_epoch(deployment.published(design.info.name))
    if proposal.epoch != epoch:
        raise EndorsementError(
            f"what is proposed is epoch {proposal.epoch}, and {epoch} is next: propose again"
        )
    settled = settle(terms, proposal, list(records.endorsements()), before)
    entries = settled.record.listed(epoch)
    if not len(entries):
        raise EndorsementError("too few organisations have endorsed anything of the proposal")
    approve(_succession(deployment, design, listed, entries))
    record = records.keep(settled.record, rng.take(SEED_BYTES), epoch - 1 if delta else 0)
    deployment.lists.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_entries(list_path(deployment, listed), entries, settled.record.next_id)
    seeded = Randomness(lambda count: record.seed[:count])
    more |= {"progress": progress, "endorsement": settled.record.endorsement(design.info, terms)}
    more |= {"source": listed}
    if delta:
        publication = publish_change(
            deployment,
            design,
            *change(before.listed(epoch - 1), entries),
            seeded,
            entries=HeldEntries(entries),
            **more,
        )
    else:
        publication = publish(deployment, design, HeldEntries(entries), seeded, epoch, **more)
    return publication, settled


def _succession(deployment: Deployment, design: AnyDesign, listed: str, entries: EntryBatch) -> Succession:
    """What publishing endorsed entries as the list `listed` does, to the list of that name, too."""
    found = succession(deployment, design.info.name, listed, entries)
    path = list_path(deployment, listed)
    if not path.exists():
        return found
    with open_list(path, verify=False) as held:
        is_ours = held.footer.source_formats == ENDORSED or is_as_published(
            deployment, design.info.name, found.epoch, held
        )
        return found if is_ours else replace(found, lost=len(held))


def _submitted(deployment: Deployment, name: str, listed: str) -> Path:
    return deployment.home / "curator" / "submissions" / listed / f"{name}{LIST_SUFFIX}"


def _before(deployment: Deployment, design: AnyDesign, listed: str) -> Batches:
    """What is endorsed so far; before the first time nothing, and no id of an earlier list."""
    epoch = next_epoch(deployment.published(design.info.name)) - 1
    path = list_path(deployment, listed)
    records = records_of(deployment, design)
    if records.has(epoch):
        return records.record(epoch).batches
    if not path.exists():
        return Batches(0, FIRST_ID)
    with open_list(path, verify=False) as earlier:
        return Batches(0, earlier.footer.next_id)


def audit(
    deployment: Deployment,
    design: AnyDesign,
    rebuild: bool = False,
    epoch: int | None = None,
    progress: Progress = no_progress,
) -> dict[str, Verdict]:
    """What an audit of an endorsed epoch, by default the current one, comes to (see `Audited`);
    `PublicationError` if there is no such epoch."""
    folder = deployment.published(design.info.name)
    records = records_of(deployment, design)
    publication = open_publication(folder, epoch)
    publication.verify()
    number = publication.signed.manifest.predecessor_epoch
    before = open_publication(folder, number) if number else None
    comparable = before if before is not None and records.has(number) else None
    audited = Audited(design, terms_of(deployment, design), publication, comparable)
    record = records.record(publication.manifest.epoch)
    with WorkerPool() as workers:
        found = audited.endorsements(workers)
        found["recorded"] = audited.recorded(record)
        if rebuild:
            earlier = records.record(record.previous) if record.previous else None
            found["rebuilt"] = audited.rebuilt(record, earlier, throwaway_signer(), workers, progress)
    return found


def endorsed_by(deployment: Deployment, design: AnyDesign) -> Callable[[int, Label], Verdict]:
    """What the centre asks of a label in a report: whether its entry is endorsed in that epoch."""
    if read_policy(deployment) is None:
        return lambda epoch, label: Passed()
    terms = terms_of(deployment, design)
    folder = deployment.published(design.info.name)
    opened = lru_cache(4)(partial(_table, folder, design, terms))

    def verify(epoch: int, label: Label) -> Verdict:
        try:
            return verify_label(opened(epoch), terms, label)
        except BlindmatchError as error:
            return Failed(f"the entry is not known to be endorsed: {error}")

    return verify


def _table(folder: Path, design: AnyDesign, terms: Terms, epoch: int) -> EndorsedTable:
    path = folder / str(epoch) / FILE
    if not path.exists():
        raise DeploymentError(f"epoch {epoch} bears no endorsements")
    content = MappedFile(path, path.stat().st_size).content
    keys = len(terms.policy.organisations)
    table = EndorsedTable(content, design.info, epoch, keys)
    match verify_table(table, terms, read_signed(path.parent).manifest.entries):
        case Failed(reason):
            raise DeploymentError(f"epoch {epoch} is not endorsed: {reason}")
    return table
