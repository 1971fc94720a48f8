"""The log of epochs and counts, and the witnesses of its checkpoints (docs/explanation/accountability.md).

`tree_store` keeps a tree as tiles in files, `service` appends to it, `witness` has it cosigned, and cosigns,
`witness` also asks witnesses that others run.
"""
