"""Files and texts on their way out: whole or in part, saved by a browser and never run by it.

Starlette's FileResponse knows files of this machine only, and refuses a Range in plain text.
"""

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Annotated, BinaryIO, NamedTuple
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import StreamingResponse

from chassis.errors import ServiceError

from ..files import storage
from ..files.content_types import make_safe_name
from ..models import Snapshot

RANGE_PATTERN = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


class RangeNotSatisfiable(ServiceError):
    """The file ends before the part that is asked for."""

    status_code = 416


class RangeHeaders(NamedTuple):
    """The headers Range and If-Range."""

    range: str | None
    if_range: str | None


async def get_range_headers(request: Request) -> RangeHeaders:
    """Not declared as parameters: a Range that makes no sense is not refused, but ignored."""
    return RangeHeaders(request.headers.get("Range"), request.headers.get("If-Range"))


RequestedRange = Annotated[RangeHeaders, Depends(get_range_headers)]


def build_attachment(found: Snapshot, wanted: RangeHeaders) -> StreamingResponse:
    """A document or one of its versions. Raises RangeNotSatisfiable and StorageFailed."""
    tag = f'"{found.sha256}"'
    is_same = wanted.if_range in (None, tag)
    part = parse_range(wanted.range, found.size) if wanted.range and is_same else None
    start, end = part or (0, found.size)
    name = found.filename or f"{make_safe_name(found.title)}.txt"
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(name, safe='')}",
        "Content-Length": str(end - start),
        "ETag": tag,
        "X-Content-Type-Options": "nosniff",
    }
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    status, kind = (206 if part else 200), found.content_type
    return StreamingResponse(
        read_chunks(open_content(found), start, end), status, headers, media_type=kind
    )


def parse_range(given: str, size: int) -> tuple[int, int] | None:
    """Where the part begins and ends; None when all is meant, as by what is no range of bytes."""
    match = RANGE_PATTERN.fullmatch(given)
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


def open_content(found: Snapshot) -> BinaryIO:
    """Before the answer begins, so that it can still be an error."""
    return storage.open_file(found.sha256) if found.body is None else BytesIO(found.body.encode())


def read_chunks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < end and (chunk := file.read(min(storage.CHUNK_BYTES, end - start))):
            start += len(chunk)
            yield chunk
