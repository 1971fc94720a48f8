"""Lists that several organisations endorse: submissions, proposals, records of what was endorsed, audits.

submit    each organisation hashes its own pictures, signs its list and hands it to the curator
propose   what enough of them submitted gets id and salt, and becomes batches; what no longer is, too
endorse   an organisation signs the batches in which it knows every hash by a picture of its own
publish   the batches with enough signatures are the list; the record keeps them, and the build's seed
audit     the record is held against the set, and the set built again
"""
