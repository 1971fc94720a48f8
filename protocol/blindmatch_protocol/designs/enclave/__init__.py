"""Option 2a, simulated: a process at the provider plays an enclave that hashes pictures and looks them up.

docs/designs/enclave.md draws it, and says what is real and what is simulated.
"""

from blindmatch_protocol.designs.enclave.design import DESIGN
