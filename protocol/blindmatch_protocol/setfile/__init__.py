"""Set files, version 1: the container of everything a design publishes (docs/set-format.md)."""

from blindmatch_protocol.setfile.layout import FORMAT_VERSION, Identity, Section
from blindmatch_protocol.setfile.reader import SetFile, ending
from blindmatch_protocol.setfile.writer import SetFileWriter

__all__ = ["FORMAT_VERSION", "Identity", "Section", "SetFile", "SetFileWriter", "ending"]
