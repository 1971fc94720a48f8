"""The curator's plaintext lists: imported, kept, compared and exported (docs/how-to/lists.md).

`import_list` reads `pdq` lines, threatexchange CSV, NCMEC XML or StopNCII JSON into a list file;
`open_list` gives it back as the `EntrySource` that a design's `publish` takes.
"""

from blindmatch_server.curator.formats import ListFormat, sniff
from blindmatch_server.curator.hashlist import HashList, Title, open_list, traces
from blindmatch_server.curator.importing import (
    Summary,
    import_list,
    list_hashes,
    list_pictures,
    random_hashes,
    random_list,
)
from blindmatch_server.curator.inspection import (
    Difference,
    ExportFormat,
    Inspection,
    diff,
    export,
    inspect,
)
from blindmatch_server.curator.rejects import Reason, rejects_path
from blindmatch_server.curator.source import FormatError, ListError, ListFileError
