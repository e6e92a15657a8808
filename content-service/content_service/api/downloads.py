"""Downloads of files and texts: whole or in part, saved by a browser and never shown in it.

Starlette's FileResponse serves local files only.
"""

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Annotated, Any, BinaryIO, NamedTuple
from urllib.parse import quote

from fastapi import Depends, Header
from fastapi.responses import StreamingResponse

from chassis.errors import ServiceError
from chassis.openapi import describe_header, raises

from ..files.content_types import CONTENT_TYPES, make_safe_name
from ..files.storage import CHUNK_BYTES, FileStorage, StorageFailed
from ..models import Snapshot

RANGE_PATTERN = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")

FILE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
FILE_HEADERS = {
    "ETag": {
        "description": "Identifies the content; send it as If-Range to continue a download.",
        "schema": {"type": "string"},
    },
    **{name: describe_header(name) for name in ("Accept-Ranges", "Content-Disposition")},
}
DOWNLOAD_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file or text",
        "content": dict.fromkeys(CONTENT_TYPES, FILE),
        "headers": FILE_HEADERS,
    },
    206: {
        "description": "The part that was requested with Range",
        "content": dict.fromkeys(CONTENT_TYPES, FILE),
        "headers": {**FILE_HEADERS, "Content-Range": describe_header("Content-Range")},
    },
}


RANGE_DESCRIPTION = "Requests a part, such as `bytes=0-1023`; an invalid one is ignored."
IF_RANGE_DESCRIPTION = "An ETag: unless the file still has it, the whole file is sent."


class RangeNotSatisfiable(ServiceError):
    """Raised when the file ends before the requested part."""

    status_code = 416


class RangeHeaders(NamedTuple):
    range: str | None
    if_range: str | None


@raises(RangeNotSatisfiable, StorageFailed)
async def get_range_headers(
    requested: Annotated[str | None, Header(alias="Range", description=RANGE_DESCRIPTION)] = None,
    if_range: Annotated[str | None, Header(description=IF_RANGE_DESCRIPTION)] = None,
) -> RangeHeaders:
    """Read the headers without any check: HTTP wants an invalid Range ignored, not a 422."""
    return RangeHeaders(requested, if_range)


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
