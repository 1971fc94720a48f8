"""Near matching measured: recall, what is revealed, costs and extraction of token-psi; `bench`, `tune`."""

from blindmatch_simulations.near.bench import Options, run_near
from blindmatch_simulations.near.rows import Row
from blindmatch_simulations.near.sample import EditedPairs, edited_crops
from blindmatch_simulations.near.tune import Frontier, Point, Wishes, tune

__all__ = ["EditedPairs", "Frontier", "Options", "Point", "Row", "Wishes", "edited_crops", "run_near", "tune"]
