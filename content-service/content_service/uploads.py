"""What an uploaded file is and is called: its content decides, whatever it claims to be."""

import codecs
import os
import re
import zipfile
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
DIRECTORY = 1024**2  # a zip's list of names is at its end; this much of it is looked at
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
    """By the names in the zip's directory, unparsed: a hostile one may have a million entries."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - DIRECTORY))
    names = file.read()
    if b"vbaProject.bin" in names or not zipfile.is_zipfile(file):
        return None
    return next((kind for part, kind in MAIN_PARTS.items() if part in names), None)


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
