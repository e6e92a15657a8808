"""Runs as a process of its own, which may be killed: reads one file, prints what is in it as JSON.

It imports nothing of the service and is given no environment, so a hostile file that took it over
would find no secret in it.
"""

import hashlib
import json
import resource
import sys
from collections.abc import Iterable, Iterator
from io import BufferedReader
from typing import Any

import docx
import pypdf
from docx.document import Document
from docx.table import _Cell
from docx.text.paragraph import Paragraph
from pypdf.errors import FileNotDecryptedError


class TooLong(Exception):
    """More text than is kept of any document."""


# What the person whose file it is gets to read.
REASONS: dict[type[Exception], str] = {
    FileNotDecryptedError: "the file is encrypted",
    MemoryError: "reading the file takes too much memory",
    TooLong: "the file holds too much text",
}


def main(path: str, kind: str, memory: int, seconds: int, characters: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # Also the end of a child whose parent was killed and can no longer stop it.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    with open(path, "rb") as file:
        json.dump(report(file, kind, characters), sys.stdout)


def report(file: BufferedReader, kind: str, characters: int) -> dict[str, Any]:
    try:
        return extract(file, kind, characters)
    except Exception as error:  # readers raise anything at all for a broken file
        broken = f"the file is broken ({type(error).__name__})"
        return {"error": REASONS.get(type(error), broken)}


def extract(file: BufferedReader, kind: str, characters: int) -> dict[str, Any]:
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    pages, parts = READERS[kind](file)
    text = storable(joined(parts, characters))
    return {
        "text": text,
        "page_count": pages,
        "word_count": len(text.split()),
        "sha256": sha256,
    }


def read_pdf(file: BufferedReader) -> tuple[int, Iterable[str]]:
    pages = pypdf.PdfReader(file).pages
    return len(pages), (page.extract_text() for page in pages)


def read_docx(file: BufferedReader) -> tuple[None, Iterable[str]]:
    return None, paragraphs(docx.Document(file))


def read_text(file: BufferedReader) -> tuple[None, Iterable[str]]:
    return None, [file.read().decode("utf-8-sig")]


# By the content types that uploads.py gives.
READERS = {
    "application/pdf": read_pdf,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": read_docx,
    "text/markdown": read_text,
    "text/plain": read_text,
}


def paragraphs(container: Document | _Cell) -> Iterator[str]:
    for item in container.iter_inner_content():
        if isinstance(item, Paragraph):
            yield item.text
        else:
            for row in item.rows:
                for cell in row.cells:
                    yield from paragraphs(cell)


def joined(parts: Iterable[str], characters: int) -> str:
    kept, length = [], 0
    for part in parts:
        kept.append(part)
        length += len(part) + 1
        if length > characters:
            raise TooLong
    return "\n".join(kept)


def storable(text: str) -> str:
    """PostgreSQL stores neither NUL nor lone surrogates, and PDFs contain both."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


if __name__ == "__main__":
    path, kind, *limits = sys.argv[1:]
    main(path, kind, *map(int, limits))
