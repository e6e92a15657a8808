"""What an uploaded file is and is called: its content decides, whatever it claims to be."""

import codecs
import os
import re
import zipfile
from typing import BinaryIO

import puremagic

from chassis.errors import UnsupportedMediaType

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
MARKDOWN = "text/markdown"
PLAIN = "text/plain"

# Text too, but to be run or drawn. Of other text puremagic's guess is as good as none: what begins
# with "From" it takes for mail, and with "This is" for an .info file.
MARKUP = {"text/html", "image/svg+xml", "application/xml", "application/rtf"}

HEAD = 4096
CHUNK = 256 * 1024
DIRECTORY = 1024**2  # a zip's list of names is at its end; this much of it is looked at
LONGEST_NAME = 200
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class UnsupportedFile(UnsupportedMediaType):
    """Neither PDF, nor DOCX, nor UTF-8 text."""


def content_type_of(file: BinaryIO, name: str) -> str:
    """One of the four types above. The name only tells Markdown from other text."""
    head = file.read(HEAD)
    guesses = recognised(head)
    if head.startswith(b"%PDF-"):
        return PDF
    if DOCX in guesses and is_docx(file):
        return DOCX
    if not guesses & MARKUP and is_text(file):
        return MARKDOWN if name.lower().endswith((".md", ".markdown")) else PLAIN
    raise UnsupportedFile("file: must be a PDF, a DOCX without macros, or text in UTF-8")


def recognised(head: bytes) -> set[str]:
    """The content types that puremagic thinks possible."""
    try:
        return {match.mime_type for match in puremagic.magic_string(head)}
    except puremagic.PureError:
        return set()


def is_docx(file: BinaryIO) -> bool:
    """By the names in the zip's directory, unparsed: a hostile one may have a million entries."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - DIRECTORY))
    names = file.read()
    is_word = b"word/document.xml" in names and b"vbaProject.bin" not in names
    return is_word and zipfile.is_zipfile(file)


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
