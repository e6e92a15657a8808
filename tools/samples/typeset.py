"""Makes the demo's PDF from its text, when that changes: `python tools/samples/typeset.py`."""

# mypy: disable-error-code="import-untyped"

from pathlib import Path

from reportlab import rl_config
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Paragraph, SimpleDocTemplate

TEXT = Path(__file__).with_name("closing-the-mill-race.md")

BODY = ParagraphStyle(
    "body", fontName="Times-Roman", fontSize=11.5, leading=16, spaceAfter=7, alignment=TA_JUSTIFY
)
HEADING = ParagraphStyle(
    "heading", fontName="Times-Bold", fontSize=14, leading=18, spaceBefore=10, keepWithNext=1
)
TITLE = ParagraphStyle("title", HEADING, fontSize=22, leading=28, spaceAfter=8)


def build_paragraph(block: str) -> Paragraph:
    """A block of the text: `# title`, `## heading`, or prose."""
    mark, _, words = block.partition(" ")
    style = {"#": TITLE, "##": HEADING}.get(mark)
    return Paragraph(words, style) if style else Paragraph(block, BODY)


def main() -> None:
    rl_config.invariant = 1  # the same text gives the same bytes
    blocks = [block.replace("\n", " ") for block in TEXT.read_text().strip().split("\n\n")]
    labels = {"title": blocks[0].removeprefix("# "), "author": "Rivers and Commons Committee"}
    shape = {"pagesize": A4, "leftMargin": 28 * mm, "rightMargin": 28 * mm}
    document = SimpleDocTemplate(str(TEXT.with_suffix(".pdf")), **shape, **labels)
    document.build([build_paragraph(block) for block in blocks])


if __name__ == "__main__":
    main()
