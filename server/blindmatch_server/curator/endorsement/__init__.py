"""Lists that several organisations endorse: submissions, proposals, records, audits
(docs/explanation/accountability.md)."""
