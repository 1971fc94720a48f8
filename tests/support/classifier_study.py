"""How well the stand-in of option 1d tells pictures with text from others, and what its errors come to.

    PYTHONPATH=tests python -m support.classifier_study [pictures]

The crops are of ten photographs, so those of one are not independent of one another; the intervals (Clopper
and Pearson, 95 %) take them as if they were.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Category
from blindmatch_protocol.picture.decode import Picture
from blindmatch_simulations.data import table_of, volumes
from blindmatch_simulations.measure.intervals import clopper_pearson, one_sided_most_rate
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, EDITS, SamplePicture, crops
from blindmatch_simulations.testbed.pictures.pool import picture
from msgspec import Struct

DESIGN: Final = "device-classifier"
PICTURES: Final = 40
SEED: Final = 11
CAPTIONS: Final = ("caption", "caption-5th", "caption-middle", "status-bar")
THRESHOLDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


class Share(Struct, frozen=True):
    """`hits` of `trials`, with its interval."""

    hits: int
    trials: int

    def words(self) -> str:
        low, high = clopper_pearson(self.hits, self.trials)
        return f"{self.hits}/{self.trials} [{low:.3f}, {high:.3f}]"


class Scores(Redacted, Struct, frozen=True):
    """Scores of pictures without text, by kind, and with it, by how it got there."""

    without: Mapping[str, Sequence[float]]
    captioned: Mapping[str, Sequence[float]]

    def flagged(self, held: Sequence[float], threshold: float) -> Share:
        return Share(sum(score >= threshold for score in held), len(held))

    def roc(self) -> list[tuple[float, Share, Share]]:
        """Threshold, pictures with text that are flagged, and others that are."""
        text = [one for held in self.captioned.values() for one in held]
        none = [one for held in self.without.values() for one in held]
        return [(at, self.flagged(text, at), self.flagged(none, at)) for at in THRESHOLDS]


def category() -> Category:
    """The installed design's; raises `RegistryError` if it is not installed."""
    relation = load_design(DESIGN).info.relation
    assert isinstance(relation, Category)
    return relation


def scored(of: Category, samples: Sequence[SamplePicture]) -> Scores:
    """Scores of crops with and without captions, and of as many generated pictures."""
    without = {
        "crops": [of.score(Picture.from_bytes(one.data)) for one in samples],
        "generated": [of.score(picture(number, (256, 256))) for number in range(len(samples))],
    }
    captioned = {
        name: [of.score(Picture.from_bytes(BY_NAME[name].apply(one.data))) for one in samples]
        for name in CAPTIONS
    }
    return Scores(without, captioned)


def after_edits(of: Category, samples: Sequence[SamplePicture]) -> dict[str, Share]:
    """Captioned pictures that are flagged: how many still are after each edit."""
    plain = [BY_NAME["caption"].apply(one.data) for one in samples]
    found = [one for one in plain if of.score(Picture.from_bytes(one)) >= of.threshold]
    return {
        edit.name: Share(
            sum(of.score(Picture.from_bytes(edit.apply(one))) >= of.threshold for one in found), len(found)
        )
        for edit in EDITS
        if edit.name not in CAPTIONS
    }


def false_flags(measured: Share) -> list[tuple[str, float, float]]:
    """Photos of the EU that would be flagged in a day though they show nothing: by rate, from and to."""
    year = table_of("population")
    cited = volumes()["fpr_classifier"]
    photos = year["accounts"]["number"]["value"] * year["activity"]["pictures_a_day"]["value"]
    low, high = clopper_pearson(measured.hits, measured.trials)
    return [
        ("measured here, the stand-in", low * photos, high * photos),
        (f"cited for classifiers ({cited['source']})", cited["low"] * photos, cited["high"] * photos),
        ("one in a million", 1e-6 * photos, 1e-6 * photos),
    ]


def negatives_for(rate: float) -> float:
    """Pictures without a false flag that show a rate to be lower, one-sided at 95 % (rule of three)."""
    return one_sided_most_rate(0, 1.0) / rate


def main() -> None:
    of = category()
    samples = crops(int(sys.argv[1]) if sys.argv[1:] else PICTURES, SEED)
    found = scored(of, samples)
    for threshold, text, none in found.roc():
        print(f"| {threshold:g} | {text.words()} | {none.words()} |")
    for name, held in found.captioned.items():
        print(f"| {name} | {found.flagged(held, of.threshold).words()} |")
    for name, share in after_edits(of, samples).items():
        print(f"| {name} | {share.words()} |")
    without = [one for held in found.without.values() for one in held]
    for words, low, high in false_flags(found.flagged(without, of.threshold)):
        print(f"| {words} | {low:,.0f} to {high:,.0f} |")
    print(f"negatives without a flag to show 1e-6: {negatives_for(1e-6):,.0f}")


if __name__ == "__main__":
    main()
