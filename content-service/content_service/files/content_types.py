"""What an uploaded file is and is called: its content decides, whatever it claims to be."""

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

# What the main part of each kind of Office file is called in its zip.
OFFICE = "application/vnd.openxmlformats-officedocument"
OFFICE_TYPES_BY_MAIN_PART = {
    b"word/document.xml": f"{OFFICE}.wordprocessingml.document",
    b"xl/workbook.xml": f"{OFFICE}.spreadsheetml.sheet",
    b"ppt/presentation.xml": f"{OFFICE}.presentationml.presentation",
}

# Text too, but to be run or drawn. Of other text puremagic's guess is as good as none: what begins
# with "From" it takes for mail, and with "This is" for an .info file.
MARKUP_TYPES = {HTML, "image/svg+xml", "application/xml", "application/rtf"}

HEAD_BYTES = 4096
CHUNK_BYTES = 256 * 1024
MAX_ZIP_DIRECTORY_BYTES = (
    8 * 1024**2
)  # bytes of a zip's list of names; no document has a longer one
# The records of that list, of which the end may have a comment of 64 KB behind it.
ZIP_END_SIGNATURE, ZIP_ENTRY_SIGNATURE, MAX_ZIP_END_BYTES = b"PK\x05\x06", b"PK\x01\x02", 22 + 65535
MAX_FILENAME_CHARACTERS = 200
HTML_START_PATTERN = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)\b", re.IGNORECASE)
CONTROL_CHARACTER_PATTERN = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class UnsupportedFile(UnsupportedMediaType):
    """None of the kinds of file that the service can read."""


def detect_content_type(file: BinaryIO, name: str) -> str:
    """One of the types above. The name only tells Markdown from other text."""
    head = file.read(HEAD_BYTES)
    if head.startswith(b"%PDF-"):
        return PDF
    if head.startswith(b"PK\x03\x04") and (kind := detect_office_type(file)):
        return kind
    is_page = HTML_START_PATTERN.match(head)
    if (is_page or not guess_content_types(head) & MARKUP_TYPES) and is_text(file):
        is_markdown = name.lower().endswith((".md", ".markdown"))
        return HTML if is_page else MARKDOWN if is_markdown else PLAIN_TEXT
    kinds = "a PDF, an Office file (DOCX, XLSX, PPTX) without macros, HTML, or text in UTF-8"
    raise UnsupportedFile(f"file: must be {kinds}")


def guess_content_types(head: bytes) -> set[str]:
    """The content types that puremagic thinks possible."""
    try:
        return {match.mime_type for match in puremagic.magic_string(head)}
    except puremagic.PureError:
        return set()


def detect_office_type(file: BinaryIO) -> str | None:
    """By the names in the zip's directory; None of what has macros."""
    found = None
    for name in parse_zip_names(read_zip_directory(file)):
        if name.endswith(b"vbaProject.bin"):
            return None
        found = found or OFFICE_TYPES_BY_MAIN_PART.get(name)
    return found


def read_zip_directory(file: BinaryIO) -> bytes:
    """Of a zip, at its end. Not by zipfile: a hostile one's million names would be objects."""
    start = max(0, file.seek(0, os.SEEK_END) - MAX_ZIP_END_BYTES)
    file.seek(start)
    tail = file.read()
    end = tail.rfind(ZIP_END_SIGNATURE)
    (size,) = struct.unpack_from("<L", tail, end + 12) if 0 <= end <= len(tail) - 22 else (0,)
    if not 0 < size <= min(MAX_ZIP_DIRECTORY_BYTES, start + end):
        return b""
    file.seek(start + end - size)
    return file.read(size)


def parse_zip_names(directory: bytes) -> Iterator[bytes]:
    at = 0
    while directory.startswith(ZIP_ENTRY_SIGNATURE, at) and at + 46 <= len(directory):
        name, extra, comment = struct.unpack_from("<3H", directory, at + 28)
        yield directory[at + 46 : at + 46 + name]
        at += 46 + name + extra + comment


def is_text(file: BinaryIO) -> bool:
    """UTF-8 to the last byte and without control characters."""
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


def make_safe_name(given: str) -> str:
    """The last part of a client's path, without what a header or a terminal would mind."""
    last = re.split(r"[/\\]", given)[-1]
    printable = "".join(character for character in last if character.isprintable())
    return printable.strip(" .")[-MAX_FILENAME_CHARACTERS:] or "file"
