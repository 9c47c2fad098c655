"""The sha256 of feed files, kept from load to load: a file that is as it was is not read for it again.

`feed_hashes/<feed>.json` beside the artifacts is a memory, no artifact: it names places and times, and whoever deletes
it has every file read once more.
"""

import json
import time

from pyarrow import fs

from sortiment.blobs import Blobs
from sortiment.feeds.files import FeedFile, Unreadable, list_feed_files
from sortiment.feeds.spec import FeedSpec

FOLDER = "feed_hashes"
SETTLED_SECONDS = 2
"""A file that changed this shortly before it was listed may change again without another time: S3 counts seconds."""


def list_known_files(
    spec: FeedSpec, filesystem: fs.FileSystem | None, blobs: Blobs, unreadable: Unreadable | None = None
) -> list[FeedFile]:
    """As `list_feed_files`; of the files only those are read that are new, or whose state is another than last time."""
    key = f"{FOLDER}/{spec.name}.json"
    known = {(uri, state): sha256 for uri, state, sha256 in json.loads(blobs.read(key) or b"[]")}
    listed_at = time.time()
    files = list_feed_files(spec, filesystem, known, unreadable)
    settled = [file for file in files if file.modified_at.timestamp() + SETTLED_SECONDS <= listed_at]
    rows = [(file.uri, file.state, file.sha256) for file in settled]
    if {(uri, state): sha256 for uri, state, sha256 in rows} != known:
        blobs.write(key, (json.dumps(rows, indent=0) + "\n").encode())
    return files
