"""Conformance of a counterpart that runs elsewhere, in any language, over gRPC.

    manifest.json --> counterpart  what the counterpart claims to be, and the credentials to call it with;
                                   calls over mutual TLS, with every status and every byte as it came
                      material     the set-up, pictures with known answers, and the honest sessions
                      description  what it says of itself, who may call it, what comes back for wrong requests
                      run          what comes back for right ones; all checks

The device's part is this program's own code of the design. Its randomness has a seed, the counterpart's
has not.
"""
