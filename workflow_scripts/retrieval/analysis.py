"""retrieval: count concepts and images of each category, as a table and a plot."""

import json
from pathlib import Path
from typing import Any

from workflow_scripts.core.csv_output import write_rows
from workflow_scripts.core.step import atomic_text, report_counts, step
from workflow_scripts.core.vega import Spec, printable, to_svg
from workflow_scripts.retrieval.catalog_file import Catalog, ConceptImages, read_catalog

PARTS = ("train", "test", "negative")
SHOWN = ("train", "test")  # in the plot
COLUMNS = ("category", "classes", *PARTS, "total")
ALL = "all"  # the name of the last row
WIDTH = 560  # pixels of the plot
BAR = 22  # pixels from one bar to the next
NAME = 200  # pixels of a category's name; what is longer is cut

Row = dict[str, Any]


def count_images(catalog: Catalog) -> list[Row]:
    """A row for each category, in catalog order, and a last one for all: `classes` (concepts), and images by what they are for."""
    rows = [_row(category, list(concepts.values())) for category, concepts in catalog.items()]
    everything = [images for concepts in catalog.values() for images in concepts.values()]
    return [*rows, _row(ALL, everything)]


def _row(name: str, concepts: list[ConceptImages]) -> Row:
    parts = {part: sum(len(getattr(images, part)) for images in concepts) for part in PARTS}
    return {"category": name, "classes": len(concepts), **parts, "total": sum(parts.values())}


def plot(rows: list[Row]) -> Spec:
    """Training and test images of each category as a bar, with their number behind it, in the order of the rows."""
    values = [{"row": number, "part": part, "n": row[part]} for number, row in enumerate(rows) for part in SHOWN]
    # Bars go by number, so that names that look alike stay apart.
    names = json.dumps([printable(row["category"]) for row in rows])
    name = {"title": None, "labelExpr": f"{names}[datum.value]", "labelLimit": NAME, "ticks": False, "domain": False, "labelPadding": 6}
    y = {"field": "row", "type": "ordinal", "axis": name}
    longest = max((sum(row[part] for part in SHOWN) for row in rows), default=0) or 1
    axis = {"title": "images", "labelExpr": "datum.value % 1 ? '' : format(datum.value, ',')", "tickMinStep": 1}  # whole numbers alone
    number = {"field": "n", "type": "quantitative", "aggregate": "sum"}
    x = {**number, "stack": "zero", "scale": {"domain": [0, longest], "nice": True}, "axis": axis}
    colour = {"field": "part", "type": "nominal", "title": None, "scale": {"domain": list(SHOWN)}}
    # Training images come first, as in the table.
    order = {"field": "part", "type": "nominal", "sort": "descending"}
    bars = {"mark": {"type": "bar", "height": {"band": 0.72}}, "encoding": {"x": x, "color": colour, "order": order}}
    total = {"mark": {"type": "text", "align": "left", "dx": 5}, "encoding": {"x": x, "text": {**number, "format": ","}}}
    # A file of its own stands on white, with room for names in whatever font there is.
    page = {"background": "white", "padding": {"left": 52, "right": 32, "top": 12, "bottom": 12}, "width": WIDTH, "height": {"step": BAR}}
    return {**page, "data": {"values": values}, "encoding": {"y": y}, "layer": [bars, total]}


def analyse(catalog: Path, table: Path, figure: Path) -> dict[str, int]:
    """Write the counts as CSV and as SVG; gives those of all categories together."""
    rows = count_images(read_catalog(catalog))
    write_rows(table, [COLUMNS, *(row.values() for row in rows)])
    with atomic_text(figure) as handle:
        handle.write(to_svg(plot(rows[:-1]), "light", "Training and test images by category") + "\n")
    return {name: number for name, number in rows[-1].items() if name != "category"}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        report_counts(**analyse(Path(job.input[0]), Path(job.output.table), Path(job.output.plot)))
