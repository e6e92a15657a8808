"""A program that reads one file from standard input and prints its text and figures as JSON.

It runs in a process of its own, which may be killed. It imports nothing of the service and gets no
environment, so a hostile file that takes it over finds no secret. Libraries are imported when
needed.
"""

import hashlib
import json
import re
import resource
import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO


class TooMuchText(Exception):
    """Raised when a file holds more text than the limit."""


# Errors that the owner of the file reads, by the name of the exception.
ERROR_MESSAGES = {
    "FileNotDecryptedError": "the file is encrypted",
    "MemoryError": "reading the file takes too much memory",
    "LimitReachedError": "reading the file takes too much memory",
    "TooMuchText": "the file holds too much text",
}
MAX_JSON_BYTES_PER_CHARACTER = 6  # such as \\u00e4

# Elements of Office's XML: white space, and what is not visible in the document or is there twice.
OFFICE_WHITESPACE = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
OFFICE_SKIPPED_ELEMENTS = {"pPr", "rPr", "del", "moveFrom", "Fallback"}

# Elements of HTML at which a word ends; all others may begin in the middle of a word.
HTML_BLOCK_PATTERN = re.compile(
    "address|article|aside|blockquote|body|br|caption|center|dd|details|dialog|dir|div|dl|dt"
    "|fieldset|figcaption|figure|footer|form|h[1-6r]|head|header|hgroup|legend|li|main|menu|nav|ol"
    "|optgroup|option|p|pre|search|section|select|summary|table|tbody|td|textarea|tfoot|th|thead"
    "|title|tr|ul"
)
HTML_SKIPPED_ELEMENTS = {"script", "style", "template"}


def main(content_type: str, memory: int, seconds: int, characters: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # Also stops this process when its parent was killed and can no longer do so.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    output_bytes = characters * MAX_JSON_BYTES_PER_CHARACTER * 2 + 10_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (output_bytes, output_bytes))
    json.dump(extract_or_explain(sys.stdin.buffer, content_type, characters), sys.stdout)


def extract_or_explain(file: BinaryIO, content_type: str, characters: int) -> dict[str, Any]:
    try:
        return extract(file, content_type, characters)
    except Exception as error:  # libraries raise exceptions of every kind for a broken file
        name = type(error).__name__
        return {"error": ERROR_MESSAGES.get(name, f"the file is broken ({name})")}


def extract(file: BinaryIO, content_type: str, characters: int) -> dict[str, Any]:
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    pages, parts = READERS[content_type](file)
    text = make_storable(join_lines(parts, characters))
    return {"text": text, "page_count": pages, "word_count": len(text.split()), "sha256": sha256}


def read_pdf(file: BinaryIO) -> tuple[int, Iterable[str]]:
    import pypdf

    pages = pypdf.PdfReader(file).pages
    return len(pages), (page.extract_text() for page in pages)


def read_docx(file: BinaryIO) -> tuple[None, Iterable[str]]:
    import docx

    document = docx.Document(file)
    others = document.part.rels.values()  # headers, footers, images
    others = [part for part in others if part.reltype.endswith(("/header", "/footer"))]
    parts = [document.element, *(part.target_part.element for part in others)]
    return None, (line for part in parts for line in read_office_lines(part))


def read_office_lines(root: Any) -> list[str]:
    """Return a line for each paragraph, wherever in the document it is."""
    return split_lines(yield_office_text(root))


def yield_office_text(root: Any) -> Iterator[str]:
    from lxml import etree  # type: ignore[import-untyped]

    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        name = element.tag.rpartition("}")[2]
        if name == "p":
            yield "\n"
        elif event == "end":
            continue
        elif name in OFFICE_SKIPPED_ELEMENTS:
            walk.skip_subtree()
        else:
            yield OFFICE_WHITESPACE.get(name, "") if name != "t" else element.text or ""


def split_lines(pieces: Iterable[str]) -> list[str]:
    """Join the pieces, which may be parts of one word, and return the lines that are not empty."""
    lines = (line.strip() for line in "".join(pieces).splitlines())
    return [line for line in lines if line]


def read_xlsx(file: BinaryIO) -> tuple[int, Iterable[str]]:
    import openpyxl  # type: ignore[import-untyped]

    sheets = openpyxl.load_workbook(file, read_only=True, data_only=True).worksheets
    return len(sheets), (line for sheet in sheets for line in read_sheet_lines(sheet))


def read_sheet_lines(sheet: Any) -> Iterator[str]:
    sheet.reset_dimensions()  # a hostile file may claim a billion cells
    yield sheet.title
    for row in sheet.iter_rows(values_only=True):
        cells = [str(cell) for cell in row if cell is not None]
        if cells:
            yield "\t".join(cells)


def read_pptx(file: BinaryIO) -> tuple[int, Iterable[str]]:
    import pptx

    slides = pptx.Presentation(file).slides
    return len(slides), (text for slide in slides for text in read_slide_lines(slide))


def read_slide_lines(slide: Any) -> Iterator[str]:
    yield from read_office_lines(slide.element)
    if slide.has_notes_slide:
        yield slide.notes_slide.notes_text_frame.text


def read_html(file: BinaryIO) -> tuple[None, Iterable[str]]:
    import lxml.html  # type: ignore[import-untyped]

    parser = lxml.html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    root = lxml.html.parse(file, parser).getroot()
    return None, [] if root is None else split_lines(yield_html_text(root))


def yield_html_text(root: Any) -> Iterator[str]:
    from lxml import etree

    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        if HTML_BLOCK_PATTERN.fullmatch(element.tag):
            yield "\n"
        if event == "end":
            yield element.tail or ""
        elif element.tag in HTML_SKIPPED_ELEMENTS:
            walk.skip_subtree()
        else:
            yield element.text or ""


def read_text(file: BinaryIO) -> tuple[None, Iterable[str]]:
    return None, [file.read().decode("utf-8-sig")]


OFFICE = "application/vnd.openxmlformats-officedocument"
# By the content types that files/content_types.py detects.
READERS = {
    "application/pdf": read_pdf,
    f"{OFFICE}.wordprocessingml.document": read_docx,
    f"{OFFICE}.spreadsheetml.sheet": read_xlsx,
    f"{OFFICE}.presentationml.presentation": read_pptx,
    "text/html": read_html,
    "text/markdown": read_text,
    "text/plain": read_text,
}


def join_lines(parts: Iterable[str], characters: int) -> str:
    kept = []
    length = 0
    for part in parts:
        kept.append(part)
        length += len(part) + 1
        if length > characters:
            raise TooMuchText
    return "\n".join(kept)


def make_storable(text: str) -> str:
    """Replace NUL and lone surrogates, which PDFs contain and PostgreSQL cannot store."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


if __name__ == "__main__":
    content_type, *limits = sys.argv[1:]
    main(content_type, *map(int, limits))
