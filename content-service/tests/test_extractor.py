"""The extractor finds every visible word of a file, once and whole."""

import io

import docx
import pptx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from pptx.util import Inches

from .conftest import Caller

CONTROL = "<w:sdt {ns}><w:sdtPr/><w:sdtContent>{inner}</w:sdtContent></w:sdt>"
CHANGED = """
<w:p {ns}>
  <w:pPr><w:tabs><w:tab w:val="left" w:pos="720"/></w:tabs></w:pPr>
  <w:r><w:t>Pen</w:t></w:r><w:ins w:id="1" w:author="a"><w:r><w:t>stock</w:t></w:r></w:ins>
  <w:del w:id="2" w:author="a"><w:r><w:delText>gone</w:delText></w:r></w:del>
  <w:moveFrom w:id="3" w:author="a"><w:r><w:t>moved</w:t></w:r></w:moveFrom>
  <w:r><w:tab/><w:t>one</w:t><w:br/><w:t>two</w:t></w:r>
</w:p>"""
TEXT_BOX = """
<w:p {ns} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006">
  <w:r><w:t>before</w:t></w:r>
  <w:r><mc:AlternateContent>
    <mc:Choice Requires="wps"><w:txbxContent>{inner}</w:txbxContent></mc:Choice>
    <mc:Fallback><w:pict><w:txbxContent>{inner}</w:txbxContent></w:pict></mc:Fallback>
  </mc:AlternateContent></w:r>
  <w:r><w:t>after</w:t></w:r>
</w:p>"""
PARAGRAPH = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"


def extract_text(author: Caller, content: bytes) -> str:
    done = author.process(author.upload(content))
    assert done["status"] == "done", done["error"]
    return str(done["text"])


def save_to_bytes(document: "docx.document.Document | pptx.presentation.Presentation") -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def make_docx_with_xml(xml: str, text: str = "") -> bytes:
    """Make a Word file with these elements in its body."""
    document = docx.Document()
    inner = PARAGRAPH.format(text)
    element = parse_xml(xml.format(ns=nsdecls("w"), inner=inner))
    document.element.body.insert(0, element)
    return save_to_bytes(document)


def test_a_word_in_two_runs_of_a_slide_is_one_word(author: Caller) -> None:
    show = pptx.Presentation()
    box = show.slides.add_slide(show.slide_layouts[6]).shapes.add_textbox(*[Inches(1)] * 4)
    first = box.text_frame.paragraphs[0]
    for run in ("Pen", "stock"):
        first.add_run().text = run
    first.add_line_break()
    first.add_run().text = "closed"
    box.text_frame.add_paragraph().text = "again"

    assert extract_text(author, save_to_bytes(show)) == "Penstock\nclosed\nagain"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p><b>P</b>enstock <a href=x>clo</a>sed<p>again", "Penstock closed\nagain"),
        ("<ul><li>one<li>two</ul><td>three</td><td>four</td>", "one\ntwo\nthree\nfour"),
        ("one<br>two<script>x</script><!-- y --><?z?> <i>three</i>", "one\ntwo three"),
        ("<template><p>x</template><x-y>Pen</x-y>stock", "Penstock"),
        ("", ""),
    ],
)
def test_only_block_elements_of_a_page_separate_words(author: Caller, page: str, text: str) -> None:
    assert extract_text(author, f"<!doctype html>{page}".encode()) == text


def test_a_merged_cell_is_read_once(author: Caller) -> None:
    document = docx.Document()
    table = document.add_table(rows=2, cols=3)
    table.cell(0, 0).merge(table.cell(1, 1)).text = "merged"
    table.cell(0, 2).text = "alone"

    assert extract_text(author, save_to_bytes(document)) == "merged\nalone"


def test_the_text_of_a_content_control_is_read(author: Caller) -> None:
    assert extract_text(author, make_docx_with_xml(CONTROL, "filled in")) == "filled in"


def test_a_document_with_changes_reads_as_it_looks(author: Caller) -> None:
    assert extract_text(author, make_docx_with_xml(CHANGED)) == "Penstock\tone\ntwo"


def test_a_text_box_is_read_once(author: Caller) -> None:
    assert extract_text(author, make_docx_with_xml(TEXT_BOX, "boxed")) == "before\nboxed\nafter"


def test_headers_and_footers_are_read(author: Caller) -> None:
    document = docx.Document()
    document.add_paragraph("body")
    document.sections[0].header.paragraphs[0].text = "above"
    document.sections[0].footer.paragraphs[0].text = "below"

    assert sorted(extract_text(author, save_to_bytes(document)).split()) == [
        "above",
        "below",
        "body",
    ]
