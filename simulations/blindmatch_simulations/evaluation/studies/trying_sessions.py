"""Asks every design about the pictures of "Try one", under each edit, listed and not; `trying` has the file.

    python -m blindmatch_simulations.evaluation.studies.trying_sessions OUT KEPT

Every answer is that of a session with all parties in this process. Both lists of a picture have the same
random hashes and the other pictures, so that they differ in its own entry alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import numpy as np
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.codec.errors import NotInstalledError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import (
    AnyDesign,
    Flag,
    Label,
    Learner,
    Match,
    Progress,
    Visible,
    Voucher,
    no_progress,
)
from blindmatch_protocol.contract.relation import Category
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from msgspec import Struct
from PIL import Image, ImageOps

from blindmatch_simulations.evaluation.studies.hashes import Floats, Usual, learnt, of_body
from blindmatch_simulations.evaluation.studies.trying import (
    LIKENESS_SIDE,
    PICTURE_SIDE,
    AnswerSource,
    Shot,
    Trial,
    TrialAnswer,
    Tried,
    TriedPicture,
    TryError,
    decode_tried,
    encode,
)
from blindmatch_simulations.measure.output_file import write_file
from blindmatch_simulations.testbed.deployment.registry import all_designs, load_design, not_installed
from blindmatch_simulations.testbed.inprocess.deployed import (
    Deployed,
    Ran,
    enrolled,
    opened,
    publish,
    run_session,
)
from blindmatch_simulations.testbed.inprocess.vouchers import ACCOUNT, World, world_of
from blindmatch_simulations.testbed.pictures.crops import (
    EDITS,
    LICENCES,
    PACKAGE,
    data_uri,
    photograph_file,
)
from blindmatch_simulations.testbed.pictures.crops import opened as open_image
from blindmatch_simulations.testbed.pictures.pool import detailed, random_hashes

CHOSEN: Final = (
    ("cat", "A cat", "The face of a tabby cat, which looks past the camera", "chelsea.png"),
    (
        "coffee",
        "A cup of coffee",
        "A cup of coffee on a red saucer with a spoon, on a wooden table",
        "coffee.png",
    ),
    ("rocket", "A rocket", "A rocket stands on its launch pad at dusk, between lit towers", "rocket.jpg"),
    ("bricks", "Bricks", "Rows of grey bricks with light joints, which fill the picture", "brick.png"),
)
"""Key, title, description and file of each picture: no people, and free to copy."""
FILLERS: Final = 40
"""Random hashes on every list."""
SEED: Final = 1
LEARNT: Final = 16
"""Generated pictures from which the usual sizes of coefficients are learnt."""
HASH_SENT: Final = "hash-upload"
NUMBERS_SENT: Final = "partial-hash"
"""Designs whose requests show a likeness of the picture."""
_PICTURE_QUALITY: Final = 60
_LIKENESS_QUALITY: Final = 55


class Sample(Redacted, Struct, frozen=True):
    """A photograph and what each edit makes of it.

    Attributes:
        edited: files, in the order of the suite.
        items: the same, as a design is given them.
    """

    SHOWN: ClassVar = ("about",)

    about: TriedPicture
    edited: tuple[bytes, ...]
    items: tuple[Picture, ...]

    @property
    def hash(self) -> bytes:
        """PDQ hash of the photograph itself, by which it is listed."""
        return bytes.fromhex(self.about.hash)


def sample_of(name: str, title: str, alt: str, source: str) -> Sample:
    """Return one of `CHOSEN` with its edits; `FileNotFoundError` if scikit-image does not bundle it."""
    file = photograph_file(source)
    edited = tuple(edit.apply(file) for edit in EDITS)
    about = TriedPicture(
        id=name,
        title=title,
        alt=alt,
        package=PACKAGE,
        source=source,
        licence=LICENCES[source],
        sha256=sha256(file).hexdigest(),
        hash=Picture.from_bytes(file).hash.hex(),
    )
    return Sample(about, edited, tuple(map(Picture.from_bytes, edited)))


def samples() -> list[Sample]:
    """Return the pictures of the view; raises as `sample_of`."""
    return [sample_of(*each) for each in CHOSEN]


class Asker(Struct):
    """A design with a list, opened for one account and every role; and the centre if there are vouchers."""

    deployed: Deployed
    rng: Randomness
    state: Message
    centre: World | None
    short: Sequence[bytes] = ()
    """Rows of vouchers that the centre holds of the account: one match short of the threshold."""

    @classmethod
    def of(cls, design: AnyDesign, entries: Rows, rng: Randomness) -> Asker:
        """Publish the design for these entries, of which the first `FILLERS` are of no picture."""
        deployed = opened(publish(design, entries, rng))
        if not design.vouchers:
            return cls(deployed, rng, enrolled(deployed, rng), None)
        centre = world_of(deployed, entries, rng)
        return cls(deployed, rng, centre.state, centre, _one_short(centre, entries[:FILLERS]))

    def ask(self, item: Picture) -> Ran:
        ran = run_session(self.deployed, item, self.rng, self.state)
        self.state = ran.state
        return ran

    def label_of(self, ran: Ran) -> Label | None:
        """Return the entry that somebody learns of: the device, a server, or the centre from a voucher."""
        if isinstance(ran.outcome, Match):
            return ran.outcome.label
        if isinstance(ran.outcome, Voucher):
            return self._opened(ran.outcome)
        return next((told.label for told in ran.verdicts if told.label is not None), None)

    def _opened(self, voucher: Voucher) -> Label | None:
        assert self.centre is not None  # whoever asks for vouchers has one
        taken = self.centre.take(voucher.body)
        if not isinstance(taken, Visible):
            return None
        labels = self.centre.opener.open(ACCOUNT, self.centre.period, [*self.short, taken.row])
        return labels.get(len(self.short))


def _one_short(centre: World, listed: Rows) -> list[bytes]:
    """Return the rows of vouchers of listed hashes, one fewer than open; `TryError` if they open already, or
    too many are made up."""
    design = centre.deployed.design
    setup = centre.deployed.setup
    wanted = design.threshold(setup) - 1
    hashes = (one.tobytes() for one in listed)
    real = [one for one in hashes if not design.made_up(centre.state, setup, centre.item(one))][:wanted]
    held = centre.rows([centre.voucher(one) for one in real])
    if len(held) < wanted or centre.opener.open(ACCOUNT, centre.period, held):
        raise TryError(
            f"answers.{design.info.name}: the vouchers beside it must be one match short of opening"
        )
    return held


def found_of(asker: Asker, item: Picture, own: bytes, is_listed: bool) -> TrialAnswer:
    """Ask about a picture whose original has the hash `own`, and return what became of it."""
    design = asker.deployed.design
    is_made_up = design.made_up(asker.state, asker.deployed.setup, item)
    ran = asker.ask(item)
    if isinstance(ran.outcome, Flag):
        return TrialAnswer.FLAGGED
    if isinstance(design.info.relation, Category):
        return TrialAnswer.NOT_FLAGGED
    if how_of(design) is AnswerSource.NOBODY:
        return TrialAnswer.NOT_LOOKED
    label = asker.label_of(ran)
    if label is None and is_made_up:
        return TrialAnswer.MADE_UP
    if label is None:
        return TrialAnswer.MISSED if is_listed else TrialAnswer.NOTHING
    if label.entry_hash != own:
        return TrialAnswer.ANOTHER
    return TrialAnswer.COUNTED if design.vouchers else TrialAnswer.FOUND


def how_of(design: AnyDesign) -> AnswerSource:
    """Return whose knowledge a design's answers are."""
    if design.vouchers:
        return AnswerSource.VOUCHER
    if Learner.DEVICE in design.info.learns:
        return AnswerSource.DEVICE
    return AnswerSource.SERVER if Learner.SERVER in design.info.learns else AnswerSource.NOBODY


def entries_of(chosen: Sequence[Sample], but: Sample | None = None) -> Rows:
    """Return a list: random hashes, then those of the pictures but for one."""
    own = rows([one.hash for one in chosen if one is not but])
    return np.concatenate([random_hashes(FILLERS, SEED), own])


def ask_listed(design: AnyDesign, chosen: Sequence[Sample], edits: Sequence[int]) -> Iterator[TrialAnswer]:
    """Yield the answers for each picture and each of these edits where all pictures are listed."""
    asker = Asker.of(design, entries_of(chosen), _rng(design, "listed"))
    for one in chosen:
        for edit in edits:
            yield found_of(asker, one.items[edit], one.hash, True)


def ask_unlisted(design: AnyDesign, chosen: Sequence[Sample], edits: Sequence[int]) -> Iterator[TrialAnswer]:
    """Yield the answers for each picture and each of these edits where the others alone are listed."""
    for one in chosen:
        asker = Asker.of(design, entries_of(chosen, one), _rng(design, f"without {one.about.id}"))
        for edit in edits:
            yield found_of(asker, one.items[edit], one.hash, False)


def _rng(design: AnyDesign, what: str) -> Randomness:
    return seeded(f"try/{design.info.name}/{what}/{SEED}")


def trial_of(design: AnyDesign, chosen: Sequence[Sample], progress: Progress = no_progress) -> Trial:
    """Ask a design about every picture under every edit; `progress` hears of each session."""
    count = len(chosen) * len(EDITS)
    every = range(len(EDITS))
    tables = []
    for before, ask in ((0, ask_listed), (count, ask_unlisted)):
        answers = list[TrialAnswer]()
        for answer in ask(design, chosen, every):
            answers.append(answer)
            progress(before + len(answers), 2 * count)
        table = [tuple(answers[at : at + len(EDITS)]) for at in range(0, count, len(EDITS))]
        tables.append({one.about.id: row for one, row in zip(chosen, table, strict=True)})
    return Trial(design.info.version, how_of(design), *tables)


def shots_of(one: Sample, usual: Usual) -> tuple[Shot, ...]:
    """Draw a picture after each edit, and what requests about it show."""
    rng = seeded(f"try/shots/{SEED}")
    askers = [Asker.of(load_design(name), entries_of([one]), rng) for name in (HASH_SENT, NUMBERS_SENT)]
    found = []
    for file, item in zip(one.edited, one.items, strict=True):
        likeness, finer = (_drawn(_sent_plane(asker.ask(item), usual)) for asker in askers)
        small = open_image(file)
        small.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        found.append(Shot(data_uri(small, "WEBP", quality=_PICTURE_QUALITY, method=6), likeness, finer))
    return tuple(found)


def _sent_plane(ran: Ran, usual: Usual) -> Floats:
    body: Any = ran.asked[-1].body
    return of_body(body, usual)


def _drawn(plane: Floats) -> str:
    """A plane as whoever looks at it would draw it: its darkest hundredth black, its brightest white."""
    side = (LIKENESS_SIDE, LIKENESS_SIDE)
    image = Image.fromarray(plane.astype(np.uint8)).resize(side, Image.Resampling.BICUBIC)
    return data_uri(ImageOps.autocontrast(image, cutoff=1), "WEBP", quality=_LIKENESS_QUALITY, method=6)


def usual_pictures() -> Usual:
    """Return what is known of pictures before one is seen, from generated ones."""
    return learnt([detailed(number) for number in range(LEARNT)])


def tried(kept: Path) -> Tried:
    """Ask all designs that are installed, and tell of each on standard error.

    Args:
        kept: a folder for the answers of each design, from which an interrupted call goes on. Whoever changes
            a design or this module empties it.
    """
    chosen = samples()
    answers = dict[str, Trial]()
    not_covered = {name: _plain(why) for name, why in not_installed().items()}
    for name, registered in all_designs().items():
        try:
            answers[name] = _kept_trial(registered.design, chosen, kept / f"{name}.json")
        except NotInstalledError as error:
            not_covered[name] = _plain(str(error))
    usual = usual_pictures()
    return Tried(
        fillers=FILLERS,
        pictures=tuple(one.about for one in chosen),
        edits=tuple(edit.name for edit in EDITS),
        quality={one.about.id: tuple(item.quality for item in one.items) for one in chosen},
        answers=answers,
        not_covered=not_covered,
        shots={one.about.id: shots_of(one, usual) for one in chosen},
    )


def _plain(why: str) -> str:
    """The reason without signs that HTML reads."""
    return why.translate(str.maketrans("", "", "<>&\"'`\n"))[:300]


def _kept_trial(design: AnyDesign, chosen: Sequence[Sample], file: Path) -> Trial:
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(file.read_bytes(), type=Trial)
    began = time.process_time()
    trial = trial_of(design, chosen, partial(_tell, design.info.name))
    sys.stderr.write(f", {time.process_time() - began:.1f} CPU seconds\n")
    write_file(file, msgspec.json.encode(trial))
    return trial


def _tell(name: str, done: int, total: int) -> None:
    if done % len(EDITS) == 0:
        sys.stderr.write(f"\r{name}: {done} of {total} sessions")
        sys.stderr.flush()


def main(out: str, kept: str) -> None:
    """Write the file once all designs have answered, if it keeps its own rules."""
    Path(kept).mkdir(parents=True, exist_ok=True)
    data = encode(tried(Path(kept)))
    decode_tried(data)
    write_file(Path(out), data)


if __name__ == "__main__":
    main(*sys.argv[1:])
