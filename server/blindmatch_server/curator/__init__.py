"""The curator's plaintext lists: imported, kept, compared and exported (docs/lists.md).

`import_list` reads `pdq` lines, threatexchange CSV, NCMEC XML or StopNCII JSON into a list file;
`open_list` gives it back as the `EntrySource` that a design's `publish` takes.
"""

from blindmatch_server.curator.additions import list_hashes, list_pictures, random_hashes, random_list
from blindmatch_server.curator.assembling import Near
from blindmatch_server.curator.changes import Difference, diff
from blindmatch_server.curator.errors import (
    FormatError,
    ListBusyError,
    ListError,
    ListFileError,
    NothingValidError,
    SourceChangedError,
)
from blindmatch_server.curator.export import ExportFormat, export
from blindmatch_server.curator.families import Families, find_families
from blindmatch_server.curator.formats import ListFormat, sniff
from blindmatch_server.curator.hashlist import HashList, open_list
from blindmatch_server.curator.importing import import_list
from blindmatch_server.curator.inspection import Inspection, inspect
from blindmatch_server.curator.listwriter import Title
from blindmatch_server.curator.rejects import Reason, rejects_path
from blindmatch_server.curator.replacing import traces
from blindmatch_server.curator.summary import Summary
