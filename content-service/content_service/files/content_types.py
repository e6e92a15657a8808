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
PLAIN = "text/plain"

# What the main part of each kind of Office file is called in its zip.
OFFICE = "application/vnd.openxmlformats-officedocument"
MAIN_PARTS = {
    b"word/document.xml": f"{OFFICE}.wordprocessingml.document",
    b"xl/workbook.xml": f"{OFFICE}.spreadsheetml.sheet",
    b"ppt/presentation.xml": f"{OFFICE}.presentationml.presentation",
}

# Text too, but to be run or drawn. Of other text puremagic's guess is as good as none: what begins
# with "From" it takes for mail, and with "This is" for an .info file.
MARKUP = {HTML, "image/svg+xml", "application/xml", "application/rtf"}

HEAD = 4096
CHUNK = 256 * 1024
DIRECTORY = 8 * 1024**2  # bytes of a zip's list of names; no document has a longer one
# The records of that list, of which the end may have a comment of 64 KB behind it.
END, ENTRY, LONGEST_END = b"PK\x05\x06", b"PK\x01\x02", 22 + 65535
LONGEST_NAME = 200
PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)\b", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class UnsupportedFile(UnsupportedMediaType):
    """None of the kinds of file that the service can read."""


def content_type_of(file: BinaryIO, name: str) -> str:
    """One of the types above. The name only tells Markdown from other text."""
    head = file.read(HEAD)
    if head.startswith(b"%PDF-"):
        return PDF
    if head.startswith(b"PK\x03\x04") and (kind := office_type_of(file)):
        return kind
    is_page = PAGE.match(head)
    if (is_page or not recognised(head) & MARKUP) and is_text(file):
        is_markdown = name.lower().endswith((".md", ".markdown"))
        return HTML if is_page else MARKDOWN if is_markdown else PLAIN
    kinds = "a PDF, an Office file (DOCX, XLSX, PPTX) without macros, HTML, or text in UTF-8"
    raise UnsupportedFile(f"file: must be {kinds}")


def recognised(head: bytes) -> set[str]:
    """The content types that puremagic thinks possible."""
    try:
        return {match.mime_type for match in puremagic.magic_string(head)}
    except puremagic.PureError:
        return set()


def office_type_of(file: BinaryIO) -> str | None:
    """By the names in the zip's directory; None of what has macros."""
    found = None
    for name in names_in(directory_of(file)):
        if name.endswith(b"vbaProject.bin"):
            return None
        found = found or MAIN_PARTS.get(name)
    return found


def directory_of(file: BinaryIO) -> bytes:
    """Of a zip, at its end. Not by zipfile: a hostile one's million names would be objects."""
    start = max(0, file.seek(0, os.SEEK_END) - LONGEST_END)
    file.seek(start)
    tail = file.read()
    end = tail.rfind(END)
    (size,) = struct.unpack_from("<L", tail, end + 12) if 0 <= end <= len(tail) - 22 else (0,)
    if not 0 < size <= min(DIRECTORY, start + end):
        return b""
    file.seek(start + end - size)
    return file.read(size)


def names_in(directory: bytes) -> Iterator[bytes]:
    at = 0
    while directory.startswith(ENTRY, at) and at + 46 <= len(directory):
        name, extra, comment = struct.unpack_from("<3H", directory, at + 28)
        yield directory[at + 46 : at + 46 + name]
        at += 46 + name + extra + comment


def is_text(file: BinaryIO) -> bool:
    """UTF-8 to the last byte and without control characters."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    try:
        while chunk := file.read(CHUNK):
            if CONTROL.search(decoder.decode(chunk)):
                return False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def safe_name(given: str) -> str:
    """The last part of a client's path, without what a header or a terminal would mind."""
    last = re.split(r"[/\\]", given)[-1]
    printable = "".join(character for character in last if character.isprintable())
    return printable.strip(" .")[-LONGEST_NAME:] or "file"
