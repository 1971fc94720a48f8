"""Option 2a, simulated: a process at the provider plays an enclave that hashes pictures and looks them up.

    device                                                    provider: host | enclave (list, platform)
      nonce                         -- Attest ------------------------------->
                                    <- Quote --------------------------------- measurement, epoch, key, nonce,
      of the pinned platform? this nonce?                                      signed by the platform
      epoch? measurement in the policy?
      HPKE(key; picture, reply key) -- SealedPicture ------ opaque ---------> opens, hashes, scans all entries
      opens                         <- SealedReply -------- opaque ---------- label or none, one length

Real: the platform's signature, the policy in the signed set-up, HPKE, a process of its own, fixed sizes, the
oblivious scan. Simulated: the measurement (the process digests source files itself, which need not be what it
runs), the hardware root (a key in a file at the host), memory encryption, isolation from whoever runs the
host, sealing of list and keys, revocation.
"""

from blindmatch_protocol.designs.enclave.design import DESIGN
