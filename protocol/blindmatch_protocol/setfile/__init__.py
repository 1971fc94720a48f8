"""Set files, version 2: the container of everything a design publishes (docs/set-format.md)."""

from blindmatch_protocol.setfile.files import PAGE_BYTES, SetFile, SetFileWriter, ending, leaves_of
from blindmatch_protocol.setfile.layout import Identity
