"""What no check sees: one table, each line of which decides by running a design whether it falls under it.

suspect      a design that is held to leak, with what its beneficiary does; sessions that are read with it
leaks        lines about what is sent for a picture
conditions   lines about when something is sent: a date, an epoch, a size, a count, a seed
stored       lines about files, claims, state and time
table        all lines, with the plant that passes and the reason
"""
