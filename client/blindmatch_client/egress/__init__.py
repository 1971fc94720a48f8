"""The one seam through which anything leaves the device; no other package of the client knows of grpc.

    call --> serialise --> Recorder --> TLS channel of the party

What is recorded is what is sent: requests are serialised here, once, and recorded before the call goes
out. Outside the requests there are only HTTP/2 headers: the method, a fixed user agent and the deadline,
which is a constant of the call and never depends on content.
"""

from blindmatch_client.egress.channels import Credentials, Endpoint
from blindmatch_client.egress.egress import Call, Egress, Retry, received
from blindmatch_client.egress.methods import Method
from blindmatch_client.egress.recorder import Recorder, Totals
