"""The one seam through which anything leaves the device; no other package of the client knows of grpc.

    call --> serialise --> Recorder --> TLS channel of the party

What is recorded is what is sent: requests are serialised here, once, and recorded before the call goes
out. Outside the requests there are only HTTP/2 headers: the method, a fixed user agent and the deadline,
which is a constant of the call and never depends on content.
"""

from blindmatch_client.egress.calls import Method, Recorder
from blindmatch_client.egress.egress import Call, Credentials, Egress, Endpoint, Retry, received
