"""A running deployment, what is done with it, and what is seen of it.

world        servers, devices, and what each device was told to do
operations   what can be done, as data
run          plays operations, bounded in count and time
seen         what a device sent and what the servers counted, as the audit takes it
recording    all of it as a file: the one format that audits and replays read
"""
