"""Runs as a process of its own, which may be killed: reads one file, prints what is in it as JSON.

It imports nothing of the service and is given no environment, so a hostile file that took it over
would find no secret in it. The file is its standard input; the readers are imported when needed.
"""

import hashlib
import json
import resource
import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO


class TooLong(Exception):
    """More text than is kept of any document."""


# What the person whose file it is gets to read, by the name of the exception.
REASONS = {
    "FileNotDecryptedError": "the file is encrypted",
    "MemoryError": "reading the file takes too much memory",
    "LimitReachedError": "reading the file takes too much memory",
    "TooLong": "the file holds too much text",
}
LONGEST_LETTER = 6  # bytes of one character in JSON: \\u00e4


def main(kind: str, memory: int, seconds: int, characters: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # Also the end of a child whose parent was killed and can no longer stop it.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    longest = characters * LONGEST_LETTER * 2 + 10_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest, longest))
    json.dump(report(sys.stdin.buffer, kind, characters), sys.stdout)


def report(file: BinaryIO, kind: str, characters: int) -> dict[str, Any]:
    try:
        return extract(file, kind, characters)
    except Exception as error:  # readers raise anything at all for a broken file
        name = type(error).__name__
        return {"error": REASONS.get(name, f"the file is broken ({name})")}


def extract(file: BinaryIO, kind: str, characters: int) -> dict[str, Any]:
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    pages, parts = READERS[kind](file)
    text = storable(joined(parts, characters))
    return {
        "text": text,
        "page_count": pages,
        "word_count": len(text.split()),
        "sha256": sha256,
    }


def read_pdf(file: BinaryIO) -> tuple[int, Iterable[str]]:
    import pypdf

    pages = pypdf.PdfReader(file).pages
    return len(pages), (page.extract_text() for page in pages)


def read_docx(file: BinaryIO) -> tuple[None, Iterable[str]]:
    import docx

    return None, paragraphs(docx.Document(file))


def paragraphs(container: Any) -> Iterator[str]:
    for item in container.iter_inner_content():
        if hasattr(item, "rows"):
            for row in item.rows:
                for cell in row.cells:
                    yield from paragraphs(cell)
        else:
            yield item.text


def read_xlsx(file: BinaryIO) -> tuple[int, Iterable[str]]:
    import openpyxl  # type: ignore[import-untyped]

    sheets = openpyxl.load_workbook(file, read_only=True, data_only=True).worksheets
    return len(sheets), (line for sheet in sheets for line in lines(sheet))


def lines(sheet: Any) -> Iterator[str]:
    sheet.reset_dimensions()  # what the file says of its size may be a lie of a billion cells
    yield sheet.title
    for row in sheet.iter_rows(values_only=True):
        cells = [str(cell) for cell in row if cell is not None]
        if cells:
            yield "\t".join(cells)


def read_pptx(file: BinaryIO) -> tuple[int, Iterable[str]]:
    import pptx

    slides = pptx.Presentation(file).slides
    return len(slides), (text for slide in slides for text in texts(slide))


def texts(slide: Any) -> Iterator[str]:
    for text in slide.element.iter("{*}t"):  # in frames, tables and groups alike
        yield text.text or ""
    if slide.has_notes_slide:
        yield slide.notes_slide.notes_text_frame.text


def read_html(file: BinaryIO) -> tuple[None, Iterable[str]]:
    import lxml.html  # type: ignore[import-untyped]

    page = lxml.html.parse(file, lxml.html.HTMLParser(encoding="utf-8", remove_comments=True))
    for hidden in page.iter("script", "style", "template"):
        hidden.text = None
    return None, (text.strip() for text in page.getroot().itertext() if text.strip())


def read_text(file: BinaryIO) -> tuple[None, Iterable[str]]:
    return None, [file.read().decode("utf-8-sig")]


OFFICE = "application/vnd.openxmlformats-officedocument"
# By the content types that uploads.py gives.
READERS = {
    "application/pdf": read_pdf,
    f"{OFFICE}.wordprocessingml.document": read_docx,
    f"{OFFICE}.spreadsheetml.sheet": read_xlsx,
    f"{OFFICE}.presentationml.presentation": read_pptx,
    "text/html": read_html,
    "text/markdown": read_text,
    "text/plain": read_text,
}


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
    kind, *limits = sys.argv[1:]
    main(kind, *map(int, limits))
