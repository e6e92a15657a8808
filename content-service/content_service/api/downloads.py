"""Downloads of files and texts: whole or in part, saved by a browser and never shown in it.

Starlette's FileResponse serves local files only.
"""

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Annotated, BinaryIO, NamedTuple
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import StreamingResponse

from chassis.errors import ServiceError

from ..files.content_types import make_safe_name
from ..files.storage import CHUNK_BYTES, FileStorage
from ..models import Snapshot

RANGE_PATTERN = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


class RangeNotSatisfiable(ServiceError):
    """Raised when the file ends before the requested part."""

    status_code = 416


class RangeHeaders(NamedTuple):
    range: str | None
    if_range: str | None


async def get_range_headers(request: Request) -> RangeHeaders:
    """Read the headers without declaring them: HTTP wants an invalid Range ignored, not a 422."""
    return RangeHeaders(request.headers.get("Range"), request.headers.get("If-Range"))


RequestedRange = Annotated[RangeHeaders, Depends(get_range_headers)]


def build_attachment(
    snapshot: Snapshot, requested: RangeHeaders, storage: FileStorage
) -> StreamingResponse:
    """Build the download of a document or version; raises RangeNotSatisfiable, StorageFailed."""
    etag = f'"{snapshot.sha256}"'
    part = None
    if requested.range and requested.if_range in (None, etag):
        part = parse_range(requested.range, snapshot.size)
    start, end = part or (0, snapshot.size)
    name = snapshot.filename or f"{make_safe_name(snapshot.title)}.txt"
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(name, safe='')}",
        "Content-Length": str(end - start),
        "ETag": etag,
        "X-Content-Type-Options": "nosniff",
    }
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{snapshot.size}"
    chunks = read_chunks(open_content(snapshot, storage), start, end)
    status_code = 206 if part else 200
    return StreamingResponse(chunks, status_code, headers, media_type=snapshot.content_type)


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Return where the part begins and ends; None for an invalid header, which means the whole."""
    match = RANGE_PATTERN.fullmatch(header)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if first and last and int(last) < start:
        return None
    if start >= end:
        message = f"Range: the file has {size} bytes"
        raise RangeNotSatisfiable(message, headers={"Content-Range": f"bytes */{size}"})
    return start, end


def open_content(snapshot: Snapshot, storage: FileStorage) -> BinaryIO:
    """Open the content before the response begins, while it can still become an error."""
    if snapshot.body is None:
        return storage.open(snapshot.sha256)
    return BytesIO(snapshot.body.encode())


def read_chunks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < end and (chunk := file.read(min(CHUNK_BYTES, end - start))):
            start += len(chunk)
            yield chunk
