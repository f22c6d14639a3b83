"""Vega-Lite figures as SVG text, for a light and a dark page."""

import re
from html import escape
from typing import Any, Literal

Spec = dict[str, Any]
Theme = Literal["light", "dark"]

# Okabe and Ito's (2008) blue and orange, told apart by every kind of colour vision; the darker pair on white.
PALETTE = {
    "light": {"first": "#0072b2", "second": "#d55e00", "text": "#24292f", "muted": "#57606a", "grid": "#d8dee4"},
    "dark": {"first": "#56b4e9", "second": "#e69f00", "text": "#e6edf3", "muted": "#9198a1", "grid": "#373e47"},
}


# An SVG cannot hold these, and the renderer ends the whole process when it meets one.
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(value: Any) -> Any:
    """The same data with texts that an SVG can show: what cannot be shown is replaced, in names and labels at any depth."""
    if isinstance(value, str):
        return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {printable(key): printable(part) for key, part in value.items()}
    return [printable(part) for part in value] if isinstance(value, list) else value


def to_svg(spec: Spec, theme: Theme, description: str) -> str:
    """Render a spec for a light or a dark page, on a transparent ground; the same spec gives the same text.

    Args:
        spec: Vega-Lite; colours and fonts come from the theme, by the styles that `_config` names.
        theme: of the page.
        description: for those who cannot see the figure.
    """
    import vl_convert

    svg = vl_convert.vegalite_to_svg(printable(spec), config=_config(theme))
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(printable(description))}" ', 1)


def _config(theme: Theme) -> Spec:
    colours = PALETTE[theme]
    text, muted = colours["text"], colours["muted"]
    return {
        "background": "transparent",
        "aria": False,
        "font": "Liberation Sans, Arial, sans-serif",
        "view": {"stroke": None},
        "range": {"category": [colours["first"], colours["second"]]},
        "axis": {"labelColor": muted, "titleColor": text, "gridColor": colours["grid"], "domainColor": muted, "tickColor": muted}
        | {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8},
        "axisX": {"tickCount": 8, "grid": False, "labelOverlap": True, "labelSeparation": 6},
        "legend": {"orient": "top", "offset": 24, "labelColor": text, "labelFontSize": 12, "labelLimit": 0, "columnPadding": 20}
        | {"symbolSize": 260, "symbolOpacity": 1},
        "line": {"strokeWidth": 2},
        "text": {"color": muted, "fontSize": 11},
        "style": {
            "current": {"color": text, "strokeDash": [4, 3], "strokeWidth": 1.2},
            "current-label": {"color": text, "fontSize": 12},
            "ideal": {"color": muted, "strokeDash": [2, 3], "strokeWidth": 1.2},
            "interval": {"color": colours["first"], "strokeWidth": 2},
            "dot": {"color": colours["first"], "size": 70, "opacity": 1},
            "count": {"color": colours["first"], "opacity": 0.55},
        },
    }
