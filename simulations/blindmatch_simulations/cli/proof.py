"""`blindmatch proof`: what can be shown to others, and checked with files alone (docs/accountability.md)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from blindmatch_proofs.absence import AbsenceProof, open_setup, verify_absence, verify_files
from blindmatch_proofs.epoch import EpochLeaf, verify_leaf
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec.errors import PictureError, ProtocolError
from blindmatch_protocol.picture.item import Picture
from blindmatch_server.epochs.published import LEAF, PROOF, Publication, open_publication
from blindmatch_server.storage.key_files import read_key

from blindmatch_simulations.cli.commands import Commands, Found, found
from blindmatch_simulations.cli.console import HomeOption, writable
from blindmatch_simulations.cli.list_endorsement import judged
from blindmatch_simulations.cli.log_proof import export, is_of_log, verify_newest, verify_of_log
from blindmatch_simulations.cli.unlocking import NameArgument, opened
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError, home_from
from blindmatch_simulations.testbed.deployment.registry import load_design

app = Commands(no_args_is_help=True)

app.command("export")(export)
PictureArgument = Annotated[Path, typer.Argument(help="The picture's file.")]


@app.command("absence")
def absence(
    deployment: Deployment,
    name: NameArgument,
    picture: PictureArgument,
    out: Annotated[Path, typer.Argument(callback=writable, help="The file to write.")],
    recipient: Annotated[str, typer.Option("--to", help="Who gets the picture, in an ordinary message.")],
) -> Found:
    """Send a picture as any other, and prove that its hash is not on the list if it is not.

    A match has its ordinary consequence, and there is no proof. Else the device asks once more, for no
    message; both count against the limits of a key. The file opens the hash, and the second session's blinds.
    """
    with opened(deployment, name) as device:
        try:
            proof = device.prove_absence(recipient, picture.read_bytes())
        except PictureError as error:
            raise PictureError(f"{picture}: {error}; nothing was sent") from error
    out.write_bytes(proof.encode())
    manifest = proof.signed.manifest
    result = {
        "file": str(out),
        "bytes": len(proof.encode()),
        "design": manifest.design,
        "epoch": manifest.epoch,
    }
    return found("absent", result)


@app.command("verify")
def verify(
    file: Annotated[
        Path, typer.Argument(help="What `proof absence` or `proof export` wrote, or an epoch's epoch.proof.")
    ],
    picture: Annotated[
        Path | None, typer.Option(help="The picture that it must be of; a near design needs it.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="For what a log shows: the verifier's own tlog-policy file.")
    ] = None,
    at: Annotated[datetime | None, typer.Option(help="When cosignatures must be fresh; else now.")] = None,
    days: Annotated[int, typer.Option(min=1, help="How old a cosignature may be.")] = 7,
    curator: Annotated[
        Path | None, typer.Option(help="The curator's public key, curator.pub; else the deployment's.")
    ] = None,
    home: HomeOption = None,
) -> Found:
    """Verify a proof of absence with the set-up files of its epoch and the curator's public key. Asks nobody.

    With --policy also that the epoch is everybody's: a curator can sign another one for whoever doubts.
    Or, of files of a log: that an epoch is the newest leaf of a log, signed by the curator and cosigned by a
    quorum; or that a log showed two histories. Exit code 1 if it does not hold.
    """

    def key() -> bytes:
        return read_key(curator) if curator else Deployment.open(home_from(home)).curator_public_key()

    if is_of_log(file):
        return verify_of_log(file, policy, key, at, days)
    deployment, proof = Deployment.open(home_from(home)), _read(file)
    manifest = proof.signed.manifest
    publication = open_publication(deployment.published(manifest.design), manifest.epoch, roles=())
    item = None if picture is None else Picture.from_bytes(picture.read_bytes())
    verdicts = _verified(proof, publication, key(), item)
    if policy is not None:
        verdicts["logged"] = verify_newest(publication.folder / PROOF, policy, key, at, days)
    return judged("absence", {"design": manifest.design, "epoch": manifest.epoch}, verdicts)


def _verified(
    proof: AbsenceProof, publication: Publication, curator: bytes, item: Picture | None
) -> dict[str, Verdict]:
    """The checks, by name; the later ones need the earlier ones."""
    manifest, files = proof.signed.manifest, publication.setup() | publication.endorsement()
    leaf = EpochLeaf.decode((publication.folder / LEAF).read_bytes())
    verdicts: dict[str, Verdict] = {
        "files": verify_files(proof.signed, curator, files),
        "leaf": verify_leaf(leaf, manifest, curator, None),
    }
    if any(one != Passed() for one in verdicts.values()):
        return verdicts
    design = load_design(manifest.design)
    try:
        setup = open_setup(design, manifest, files)
    except ProtocolError as error:
        return verdicts | {"set-up": Failed(str(error))}
    return verdicts | {"set-up": Passed(), "session": verify_absence(proof, design, setup, item)}


def _read(file: Path) -> AbsenceProof:
    try:
        return AbsenceProof.decode(file.read_bytes())
    except (OSError, ProtocolError) as error:
        raise DeploymentError(f"{file.name} is no proof of absence: {error}") from error
