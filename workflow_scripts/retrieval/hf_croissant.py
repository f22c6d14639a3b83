"""croissant.json of a Hugging Face dataset: its files and columns for tools, as JSON-LD in the Croissant 1.0 format."""

import json
from pathlib import Path
from typing import Any

from workflow_scripts.retrieval.hf_images import content_sha256
from workflow_scripts.retrieval.hf_rows import COLUMNS, Column, Variant

# What the format's words stand for, as Croissant 1.0 gives it; readers compare it.
_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes"),
    *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace"),
    *("samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in _TERMS},
}
ARROW = "application/vnd.apache.arrow.stream"
TYPES = {"image": "sc:ImageObject", "text": "sc:Text", "texts": "sc:Text", "integer": "cr:Int64"}


def croissant(folder: Path, name: str, description: str, variant: Variant, fingerprint: str) -> str:
    """Describe the dataset in a folder; gives the JSON.

    There is no `datePublished`: the same input gives the same file, whenever it is made.

    Args:
        folder: holds `train/*.arrow`.
        name: of the dataset.
        description: of it, in a sentence or two.
        variant: which columns it has.
        fingerprint: of its content; makes its version.
    """
    files = sorted(folder.glob("train/*.arrow"))
    found = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": description,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "version": f"1.0.0+{fingerprint}",
        "license": "unknown",
        "citeAs": f"@misc{{{name}, title = {{{name}}}, note = {{Made with Darkroom}}}}",
        "keywords": ["image", "personalization", "retrieval"],
        "distribution": [*(_file(path, path.relative_to(folder).as_posix()) for path in files), _file_set()],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "train",
                "name": "train",
                "description": "All rows.",
                "key": {"@id": "train/example_idx"},
                "field": [_field(column) for column in COLUMNS[variant]],
            }
        ],
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _file(path: Path, place: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": place,
        "name": path.name,
        "description": "Rows as an Arrow stream.",
        "contentUrl": place,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": ARROW,
        "sha256": content_sha256(path),
    }


def _file_set() -> dict[str, Any]:
    """All files together, which the columns come from."""
    return {
        "@type": "cr:FileSet",
        "@id": "train-files",
        "name": "train-files",
        "description": "The files of all rows.",
        "encodingFormat": ARROW,
        "includes": "train/*.arrow",
    }


def _field(column: Column) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": "train-files"}, "extract": {"column": column.name}}
    if column.kind == "image":
        source["transform"] = {"jsonPath": "bytes"}  # the column holds path and bytes of each file
    found = {
        "@type": "cr:Field",
        "@id": f"train/{column.name}",
        "name": column.name,
        "description": column.meaning.replace("`", ""),
        "dataType": TYPES[column.kind],
        "source": source,
    }
    return found | ({"repeated": True} if column.kind == "texts" else {})
