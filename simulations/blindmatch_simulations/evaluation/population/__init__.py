"""A messenger with many accounts over many days: what each measured design would report, miss and cost.

Three programs for one model (docs/explanation/population.md): closed form, thinned counts, explicit messages;
tests hold them against one another, and against real devices in this process.
"""
