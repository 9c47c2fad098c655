"""A figure's two uses: SVG inside the HTML report, and a PNG in Markdown for Dagster's metadata."""

import base64
import hashlib
import io
import re
from html import escape
from typing import TYPE_CHECKING

from sortiment.report.style import SURFACE, TITLE_INCHES, TOKENS, house_style, printable_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 110
PNG_COLORS = 128
POINTS_PER_INCH = 72
VARIABLES = {light: f"var(--{name})" for name, (light, _) in TOKENS.items()}
COLOR = re.compile("|".join(VARIABLES))
FILL_ATTRIBUTE = re.compile(r' fill="(#[0-9a-f]{6})"')
STYLE_ATTRIBUTE = re.compile(r'style="[^"]*"')
FONT_FAMILY = re.compile(r" ?font-family: [^;\"]*;")
IDENTIFIER = re.compile(r' id="([^"]*)"')
REFERENCE = re.compile(r'url\(#([^)]*)\)|href="#([^"]*)"')
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def to_svg(figure: "Figure") -> str:
    """The figure as one `<svg>` element for an HTML page, without its title, which the page shows as a caption.

    Text stays text in the page's font; colors are CSS variables of `style.TOKENS`; ids are unique to the figure's name
    and the same in every run. The figure itself is left as it was.
    """
    from matplotlib import rc_context

    title, name = figure.get_suptitle(), figure.get_gid() or "figure"
    width, height = figure.get_size_inches()
    stream = io.StringIO()
    heading = figure._suptitle  # type: ignore[attr-defined]  # matplotlib has a getter for its text only
    with house_style(), rc_context({"svg.hashsalt": name}):
        try:
            if heading is not None:
                heading.set_visible(False)
                heading.set_in_layout(False)
                figure.set_size_inches(width, height - TITLE_INCHES)
            _print_svg(figure, stream)
        finally:
            if heading is not None:
                heading.set_visible(True)
                heading.set_in_layout(True)
                figure.set_size_inches(width, height)
    return _as_element(stream.getvalue(), name, title, str(figure.get_label()))


def _print_svg(figure: "Figure", stream: io.StringIO) -> None:
    """Lay out once and draw once: `savefig` would draw twice."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    canvas, engine = figure.canvas, figure.get_layout_engine()
    try:
        if engine is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")
        FigureCanvasSVG(figure).print_svg(stream, metadata=NO_METADATA)  # type: ignore[no-untyped-call]
    finally:
        figure.set_canvas(canvas)
        if engine is not None:
            figure.set_layout_engine(engine)


def to_markdown(figure: "Figure") -> str:
    """The figure as a Markdown image with a PNG data URI, title included: for `MetadataValue.md`."""
    data = base64.b64encode(to_png(figure)).decode("ascii")
    title = printable_text(figure.get_suptitle()).replace("[", "(").replace("]", ")")
    return f"![{title}](data:image/png;base64,{data})"


def to_png(figure: "Figure") -> bytes:
    """The figure as a PNG of a few dozen kilobytes, on a plain light background."""
    from PIL import Image

    stream = io.BytesIO()
    with house_style():
        figure.savefig(stream, format="png", dpi=PNG_DPI, facecolor=SURFACE)
    stream.seek(0)
    small = io.BytesIO()
    with Image.open(stream) as image:
        flat = image.convert("RGB").quantize(PNG_COLORS, dither=Image.Dither.NONE)
        flat.save(small, format="PNG", optimize=True)
    return small.getvalue()


def _as_element(svg: str, name: str, title: str, description: str) -> str:
    body = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="([^"]*)"', body)
    assert box is not None, "matplotlib writes a viewBox"
    width = float(box.group(1).split()[2])
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = body[body.index(">") + 1 :]
    body = FILL_ATTRIBUTE.sub(r' style="fill: \1"', body)  # hatches: variables work in styles only
    body = STYLE_ATTRIBUTE.sub(_with_variables, body)
    body = _with_own_ids(body, name)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"<g>\s*</g>", "", body)
    body = re.sub(r">\s*\n\s*<", "><", body)
    label = printable_text(f"{title}. {description}" if description else title)
    heading = f"{name}-title"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'viewBox="{box.group(1)}" style="--natural-width: {width:.0f}; font-family: var(--font)" '
        f'aria-labelledby="{escape(heading)}">'
        f'<title id="{escape(heading)}">{escape(label)}</title>{body.strip()}'
    )


def _with_variables(match: re.Match[str]) -> str:
    style = COLOR.sub(lambda color: VARIABLES[color.group(0)], match.group(0))
    return FONT_FAMILY.sub("", style)  # the page's, set once on the svg


def _with_own_ids(body: str, name: str) -> str:
    """Drop ids that nothing refers to; prefix the rest with the figure's name."""
    used = {part for match in REFERENCE.finditer(body) for part in match.groups() if part}
    own = {identifier: f"{name}-{hashlib.sha256(identifier.encode()).hexdigest()[:8]}" for identifier in used}
    body = IDENTIFIER.sub(lambda match: f' id="{own[match.group(1)]}"' if match.group(1) in own else "", body)
    return REFERENCE.sub(
        lambda match: f"url(#{own[match.group(1)]})" if match.group(1) else f'href="#{own[match.group(2)]}"', body
    )
