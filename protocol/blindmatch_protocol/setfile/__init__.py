"""Set files, version 2: the container of everything a design publishes (docs/set-format.md)."""

from blindmatch_protocol.setfile.layout import FORMAT_VERSION, Identity, Section
from blindmatch_protocol.setfile.pages import PAGE_BYTES, leaves_of
from blindmatch_protocol.setfile.reader import SetFile, ending
from blindmatch_protocol.setfile.writer import SetFileWriter
