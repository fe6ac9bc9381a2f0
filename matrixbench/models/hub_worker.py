"""The program that asks a Hugging Face hub, run as a child process by its file's path.

A child, since huggingface_hub reads its environment when it is imported, writes to the console,
and cannot be broken off in a thread. It imports nothing of ours, so that it runs wherever
huggingface_hub can be imported. It is told in JSON what to do, by its one argument, and says in
JSON lines, each after `SIGN`, what it sees: `listed` (and then reads the names to fetch, as one
line), `progress`, `done`, `error`. An error that it does not know ends it with a traceback.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from errno import EACCES, EDQUOT, EEXIST, EFBIG, ENOSPC, ENOTDIR, EROFS
from hashlib import sha256
from pathlib import Path
from typing import Any

SIGN = "matrixbench-hub "

WATCH_EVERY_S = 0.25

CACHE_ERRORS = frozenset({EACCES, EDQUOT, EEXIST, EFBIG, ENOSPC, ENOTDIR, EROFS})
"""What the system says of a cache that cannot be written; connections fail with others."""

PIECE_BYTES = 1 << 20


def say(event: str, **told: object) -> None:
    """Write one event. With nobody left to read it, end the process and let it clean up."""
    try:
        sys.stdout.write(f"{SIGN}{json.dumps({'event': event, **told})}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        signal.raise_signal(signal.SIGTERM)


def end(*_: object) -> None:
    """Leave by an exception, so that huggingface_hub removes its half files."""
    raise SystemExit(128 + signal.SIGTERM)


class Watch(threading.Thread):
    """Tells how large the files have grown.

    The files are looked at, since that works in every version of huggingface_hub and whatever
    carries the bytes. It downloads to names that begin with the blob's own.

    Args:
        blobs: The cache's folder of blobs.
        files: The files that are being fetched: `blob` and `size` each.
    """

    def __init__(self, blobs: Path, files: list[dict[str, Any]]) -> None:
        super().__init__(daemon=True)
        self.blobs = blobs
        self.files = files
        self.over = threading.Event()

    def run(self) -> None:
        """Tell until it is over."""
        while not self.over.wait(WATCH_EVERY_S):
            say("progress", done=sum(map(self.size, self.files)))

    def size(self, file: dict[str, Any]) -> int:
        """Return how many bytes of a file are there."""
        sizes = [0]
        for path in self.blobs.glob(f"{file['blob']}*"):
            try:
                sizes.append(path.stat().st_size)
            except FileNotFoundError:
                # It was renamed to its blob meanwhile: the next look sees it.
                continue
        return min(max(sizes), file["size"] or max(sizes))


def list_files(order: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each file's name, size, blob, and sha256 where that is known."""
    from huggingface_hub import HfApi

    info = HfApi(endpoint=order["endpoint"]).model_info(order["repo"], files_metadata=True)
    return [
        {
            "name": file.rfilename,
            "size": file.size,
            "blob": file.lfs.sha256 if file.lfs else file.blob_id,
            "sha256": file.lfs.sha256 if file.lfs else None,
        }
        for file in info.siblings or ()
    ]


def download(order: dict[str, Any], files: list[dict[str, Any]]) -> list[Path]:
    """Return the files' paths in the cache."""
    from huggingface_hub import hf_hub_download

    blobs = Path(order["cache"], f"models--{order['repo'].replace('/', '--')}", "blobs")
    watch = Watch(blobs, files)
    watch.start()
    try:
        return [
            Path(
                hf_hub_download(
                    order["repo"],
                    file["name"],
                    cache_dir=order["cache"],
                    endpoint=order["endpoint"],
                )
            )
            for file in files
        ]
    finally:
        watch.over.set()
        watch.join()


def verify(path: Path, expected: str) -> bool:
    """Return whether a file has the digest that it should have; remove it if not.

    The hub's client compares sizes only, and the blob's name is taken for its digest from now on.
    """
    hasher = sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            hasher.update(piece)
    if hasher.hexdigest() == expected:
        return True
    blob = path.parent / path.readlink() if path.is_symlink() else path
    path.unlink()
    blob.unlink(missing_ok=True)
    say("error", kind="broken", text=f"{path.name} has sha256 {hasher.hexdigest()}, not {expected}")
    return False


def run(order: dict[str, Any]) -> None:
    """Do what the order says: list, be told what to take, fetch, check."""
    listed = list_files(order)
    say("listed", files=[file["name"] for file in listed])
    wanted = json.loads(sys.stdin.readline())
    by_name = {file["name"]: file for file in listed}
    files = [by_name[name] for name in wanted]
    say("chosen", total=sum(file["size"] or 0 for file in files))
    paths = download(order, files)
    say("checking")
    for path, file in zip(paths, files, strict=True):
        if file["sha256"] is not None and not verify(path, file["sha256"]):
            return
    say("done", paths=[str(path) for path in paths])


def main() -> None:
    """Run, and say what went wrong if it is of a known kind."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    signal.signal(signal.SIGTERM, end)
    try:
        run(json.loads(sys.argv[1]))
    except GatedRepoError as error:
        say("error", kind="gated", text=str(error))
    except RepositoryNotFoundError as error:
        say("error", kind="missing", text=str(error))
    except HfHubHTTPError as error:
        say("error", kind="status", text=str(error), status=error.response.status_code)
    except LocalEntryNotFoundError as error:
        say("error", kind="network", text=str(error.__cause__ or error))
    except OSError as error:
        if error.errno not in CACHE_ERRORS:
            raise
        say("error", kind="disk", text=error.strerror)


if __name__ == "__main__":
    main()
