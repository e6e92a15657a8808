"""Detects what an uploaded file is, by its content alone, and makes its name safe."""

import codecs
import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

import puremagic

from chassis.errors import UnsupportedMediaType

PDF = "application/pdf"
HTML = "text/html"
MARKDOWN = "text/markdown"
PLAIN_TEXT = "text/plain"

# Office files are zips; the name of the main part tells them apart.
OFFICE = "application/vnd.openxmlformats-officedocument"
OFFICE_TYPES_BY_MAIN_PART = {
    b"word/document.xml": f"{OFFICE}.wordprocessingml.document",
    b"xl/workbook.xml": f"{OFFICE}.spreadsheetml.sheet",
    b"ppt/presentation.xml": f"{OFFICE}.presentationml.presentation",
}

CONTENT_TYPES = [PDF, *OFFICE_TYPES_BY_MAIN_PART.values(), HTML, MARKDOWN, PLAIN_TEXT]

# Text that is run or drawn, and so not accepted. puremagic's other guesses about text are useless:
# it takes what begins with "From" for mail, and with "This is" for an .info file.
MARKUP_TYPES = {HTML, "image/svg+xml", "application/xml", "application/rtf"}

HEAD_BYTES = 4096
CHUNK_BYTES = 256 * 1024
MAX_ZIP_DIRECTORY_BYTES = 8 * 1024**2  # the list of names; no real document has a longer one
ZIP_ENTRY_SIGNATURE = b"PK\x01\x02"
ZIP_END_SIGNATURE = b"PK\x05\x06"
MAX_ZIP_END_BYTES = 22 + 65535  # the end record and its comment
MAX_FILENAME_CHARACTERS = 200
HTML_START_PATTERN = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)\b", re.IGNORECASE)
CONTROL_CHARACTER_PATTERN = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class UnsupportedFile(UnsupportedMediaType):
    """Raised for a file that is no PDF, DOCX, XLSX, PPTX, HTML, Markdown or text."""


def detect_content_type(file: BinaryIO, name: str) -> str:
    """Return one of the types above; the name only tells Markdown from other text."""
    head = file.read(HEAD_BYTES)
    if head.startswith(b"%PDF-"):
        return PDF
    if head.startswith(b"PK\x03\x04") and (kind := detect_office_type(file)):
        return kind
    is_page = HTML_START_PATTERN.match(head)
    if (is_page or not guess_content_types(head) & MARKUP_TYPES) and is_text(file):
        is_markdown = name.lower().endswith((".md", ".markdown"))
        return HTML if is_page else MARKDOWN if is_markdown else PLAIN_TEXT
    types = "a PDF, an Office file (DOCX, XLSX, PPTX) without macros, HTML, or text in UTF-8"
    raise UnsupportedFile(f"file: must be {types}")


def guess_content_types(head: bytes) -> set[str]:
    """Return the content types that puremagic considers possible."""
    try:
        return {match.mime_type for match in puremagic.magic_string(head)}
    except puremagic.PureError:
        return set()


def detect_office_type(file: BinaryIO) -> str | None:
    """Return the type by the names in the zip's directory; None for a file with macros."""
    found = None
    for name in parse_zip_names(read_zip_directory(file)):
        if name.endswith(b"vbaProject.bin"):
            return None
        found = found or OFFICE_TYPES_BY_MAIN_PART.get(name)
    return found


def read_zip_directory(file: BinaryIO) -> bytes:
    """Read a zip's directory; zipfile would make objects of a hostile file's million names."""
    start = max(0, file.seek(0, os.SEEK_END) - MAX_ZIP_END_BYTES)
    file.seek(start)
    tail = file.read()
    end = tail.rfind(ZIP_END_SIGNATURE)
    if not 0 <= end <= len(tail) - 22:
        return b""
    (size,) = struct.unpack_from("<L", tail, end + 12)
    if not 0 < size <= min(MAX_ZIP_DIRECTORY_BYTES, start + end):
        return b""
    file.seek(start + end - size)
    return file.read(size)


def parse_zip_names(directory: bytes) -> Iterator[bytes]:
    start = 0
    while directory.startswith(ZIP_ENTRY_SIGNATURE, start) and start + 46 <= len(directory):
        name_size, extra_size, comment_size = struct.unpack_from("<3H", directory, start + 28)
        yield directory[start + 46 : start + 46 + name_size]
        start += 46 + name_size + extra_size + comment_size


def is_text(file: BinaryIO) -> bool:
    """Return whether the whole file is UTF-8 without control characters."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    try:
        while chunk := file.read(CHUNK_BYTES):
            if CONTROL_CHARACTER_PATTERN.search(decoder.decode(chunk)):
                return False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def make_safe_name(path: str) -> str:
    """Return the last part of a client's path, without characters that can do harm."""
    last = re.split(r"[/\\]", path)[-1]
    printable = "".join(character for character in last if character.isprintable())
    return printable.strip(" .")[-MAX_FILENAME_CHARACTERS:] or "file"
