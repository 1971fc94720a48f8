"""Scenarios, measurement and the command line."""

import os

# before gRPC is imported: else a server's log, which is JSON, gets a line of gRPC's own for every connection
# that is no TLS, as many as an attacker likes
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
