"""prefix-bucket: oprf-psi with a part of the set fetched for each picture; docs/designs/prefix-bucket.md."""

from blindmatch_protocol.designs.prefix_bucket.design import BUCKETS, DESIGN
from blindmatch_protocol.designs.prefix_bucket.files import Bucket, Fetch, Setup
