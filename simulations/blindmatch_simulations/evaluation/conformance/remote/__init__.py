"""Conformance of a counterpart that runs elsewhere, in any language, over gRPC.

    manifest.json --> manifest     what the counterpart claims to be, and the credentials to call it with
                      counterpart  calls over mutual TLS, with every status and every byte as it came
                      material     the set-up, pictures with known answers, and the honest sessions
    checks            answers      what comes back for right requests
                      refusals     what comes back for wrong ones
                      description  what it says of itself, and who may call it

The device's part is this program's own code of the design. Its randomness has a seed, the counterpart's
has not.
"""
