"""Near matching measured: recall, what is revealed, costs and extraction of token-psi; `bench`, `tune`."""

from blindmatch_simulations.evaluation.studies.near.bench import Options, bench_near
from blindmatch_simulations.evaluation.studies.near.extraction import limits_for
from blindmatch_simulations.evaluation.studies.near.sample import EditedPairs, edited_crops
from blindmatch_simulations.evaluation.studies.near.tune import Frontier, Point, Wishes, tune
