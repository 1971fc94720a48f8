"""A messenger with many accounts over many days: what each measured design would report, miss and cost.

    inputs (TOML, a source for each figure) + behaviour (a results file of `assess`)
        -> model -> closed form          expected values
                 -> thinned counts       blocks of accounts, the figures that are printed
                 -> explicit messages    every message on its own, for small populations
        -> bands, the centre's queue, load -> JSON, tables

The three levels are three programs for one model, docs/population.md; tests hold them against one another,
and against real devices in this process.
"""
