"""Files to upload, made when they are needed."""

import io
import zipfile
from typing import Any

import docx
import openpyxl  # type: ignore[import-untyped]
import pptx
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, NameObject
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]


def make_pdf(*pages: str) -> bytes:
    file = io.BytesIO()
    canvas = Canvas(file)
    for page in pages:
        canvas.drawString(72, 720, page)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def make_encrypted_pdf(user_password: str) -> bytes:
    """Encrypt a PDF. Without a user password everyone can read it; the owner's limits printing."""
    writer = PdfWriter(io.BytesIO(make_pdf("Confidential figures")))
    file = io.BytesIO()
    writer.encrypt(user_password, "owner", algorithm="AES-256")
    writer.write(file)
    return file.getvalue()


def make_docx(*paragraphs: str, cells: tuple[str, ...] = ()) -> bytes:
    document = docx.Document()
    file = io.BytesIO()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    if cells:
        row = document.add_table(rows=1, cols=len(cells)).rows[0]
        for cell, content in zip(row.cells, cells, strict=True):
            cell.text = content
    document.save(file)
    return file.getvalue()


def make_xlsx(named: dict[str, list[list[Any]]]) -> bytes:
    book = openpyxl.Workbook()
    file = io.BytesIO()
    book.remove(book.active)
    for title, rows in named.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(file)
    return file.getvalue()


def make_pptx(*titles: str, notes: str = "") -> bytes:
    show = pptx.Presentation()
    file = io.BytesIO()
    for title in titles:
        slide = show.slides.add_slide(show.slide_layouts[5])
        slide.shapes.title.text = title
        slide.notes_slide.notes_text_frame.text = notes
    show.save(file)
    return file.getvalue()


def repack(content: bytes, **members: bytes) -> bytes:
    """Replace or add members of a zip."""
    file = io.BytesIO()
    packed = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with zipfile.ZipFile(io.BytesIO(content)) as old, packed as new:
        for name in old.namelist():
            if name not in members:
                new.writestr(name, old.read(name))
        for name, member in members.items():
            new.writestr(name, member)
    return file.getvalue()


def make_zip(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return file.getvalue()


MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
CELL = b'<worksheet xmlns="%s"><sheetData><row><c t="inlineStr"><is><t>x' % MAIN.encode()


def make_bomb(kind: str, size: int) -> bytes:
    """Make a small file that unpacks to `size` bytes."""
    if kind == "pdf":
        return make_drawn_pdf(b" " * size)
    whole, part, content = {
        "docx": (make_docx("x"), "word/document.xml", b" "),
        "xlsx": (make_xlsx({"A": [["x"]]}), "xl/worksheets/sheet1.xml", CELL),
        "pptx": (make_pptx("x"), "ppt/presentation.xml", b" "),
    }[kind]
    return repack(whole, **{part: content + content[-1:] * size})


def make_drawn_pdf(instructions: bytes) -> bytes:
    """Make a PDF of one page that is drawn with these instructions."""
    writer = PdfWriter(io.BytesIO(make_pdf("x")))
    file = io.BytesIO()
    stream = DecodedStreamObject()
    stream.set_data(instructions)
    writer.pages[0][NameObject("/Contents")] = stream.flate_encode()
    writer.write(file)
    return file.getvalue()
