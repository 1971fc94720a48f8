"""The provider's relay: pre-keys, a queue of ciphertexts for each account, sealed attachments."""
