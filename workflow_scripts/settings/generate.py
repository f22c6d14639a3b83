"""Write what is made from the settings models and the lock: config.yaml, its schema, the tables of config/README.md, envs/.

python -m workflow_scripts.settings.generate           write
python -m workflow_scripts.settings.generate --check   say what is out of step, and fail
"""

import json
import re
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any, TypeGuard, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from workflow_scripts.settings import Settings

ROOT = Path(__file__).parents[2]
WIDTH = 110
# One conda file a tool: the extras of pyproject.toml that stand in it, beside the light core.
ENVIRONMENTS = {
    "core": ("s3",),
    "clip": ("clip", "s3"),
    "hash": ("hash",),
    "hub": ("hub",),
    "video": ("video",),
    "pose": ("yolo", "mask", "onnx-cpu"),
    "mask": ("mask", "hash", "onnx-cpu"),
    "caption": ("caption", "clip", "s3"),
    "segment": ("yolo", "clip", "tar"),
    "index": ("faiss-cpu", "s3"),
}


def is_group(annotation: Any) -> TypeGuard[type[BaseModel]]:
    """Whether a field is a group of settings of its own."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def entry_group(annotation: Any) -> type[BaseModel] | None:
    """The group of the entries of a named collection such as `runs`, else None."""
    value = get_args(annotation)[1] if get_origin(annotation) is dict else None
    return value if is_group(value) else None


def own_fields(entry: type[BaseModel]) -> dict[str, FieldInfo]:
    """What the entries of a named collection have beyond the defaults that they inherit."""
    inherited = {name for base in entry.__mro__[1:] if is_group(base) for name in base.model_fields}
    return {name: field for name, field in entry.model_fields.items() if name not in inherited}


def config_yaml() -> str:
    """Every setting with its default and its description, as commented YAML."""
    head = (
        "# Every setting with its default. Do not edit: made from workflow_scripts/settings/.\n"
        "# Write what you change into a file of your own and give it with --configfile; it is laid over this one.\n"
    )
    return head + "\n".join(_yaml_lines(Settings(), 0)) + "\n"


def _yaml_lines(group: BaseModel, depth: int) -> list[str]:
    """The lines of a group; its values are those of the place where it stands, which need not be those of its class."""
    lines: list[str] = []
    pad = "  " * depth
    for name, field in type(group).model_fields.items():
        if depth == 0:
            lines.append("")
        lines += [f"{pad}# {line}" for line in textwrap.wrap(field.description or "", WIDTH - len(pad) - 2)]
        if is_group(field.annotation):
            lines += [f"{pad}{name}:", *_yaml_lines(getattr(group, name), depth + 1)]
        elif entry := entry_group(field.annotation):
            lines += [f"{pad}{name}: {{}}", *_example(name, entry, depth)]
        else:
            lines += _value_lines(name, group.model_dump(mode="json")[name], pad)
    return lines


def _value_lines(name: str, value: Any, pad: str) -> list[str]:
    text = yaml.safe_dump({name: value}, allow_unicode=True, sort_keys=False, width=10_000, default_flow_style=False)
    return [f"{pad}{line}" for line in text.rstrip("\n").split("\n")]


def _example(name: str, entry: type[BaseModel], depth: int) -> list[str]:
    """What an entry of a named collection has beyond the defaults, as a comment."""
    lines = [f"{name}:", f"  my-{name.removesuffix('s')}:"]
    for field_name, field in own_fields(entry).items():
        value = "/data/photos" if field.is_required() else "null"
        lines += [f"    # {line}" for line in textwrap.wrap(field.description or "", WIDTH - 10)]
        lines.append(f"    {field_name}: {value}")
    lines.append("    # and any of the defaults above that it changes")
    pad = "  " * depth
    return [f"{pad}# {line}" for line in lines]


def default_of(field: FieldInfo) -> Any:
    """A field's default as plain data; None where there is none."""
    return None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})


def settings_table() -> str:
    """One row a setting: key, type, default, meaning."""
    rows = ["| setting | type | default | meaning |", "|---|---|---|---|", *_table_rows(Settings(), "")]
    return "\n".join(rows)


def _table_rows(group: BaseModel, prefix: str) -> list[str]:
    rows: list[str] = []
    for name, field in type(group).model_fields.items():
        key = f"{prefix}{name}"
        if is_group(field.annotation):
            rows += _table_rows(getattr(group, name), f"{key}.")
        elif entry := entry_group(field.annotation):
            rows.append(f"| `{key}` | named entries | none | {field.description} Each takes every default above, and: |")
            rows += [_row(f"{key}.NAME.{own_name}", own_field, default_of(own_field)) for own_name, own_field in own_fields(entry).items()]
        else:
            rows.append(_row(key, field, group.model_dump(mode="json")[name]))
    return rows


def _row(key: str, field: FieldInfo, value: Any) -> str:
    default = "required" if field.is_required() else f"`{json.dumps(value, ensure_ascii=False)}`"
    return f"| `{key}` | {_type_name(field.annotation)} | {default} | {field.description} |"


def _type_name(annotation: Any) -> str:
    if annotation is None or annotation is type(None):
        return "null"
    if get_origin(annotation) is dict:
        return "name: text"
    if get_origin(annotation) is list:
        return f"list of {_type_name(get_args(annotation)[0])}"
    if type(annotation).__name__ == "_LiteralGenericAlias":
        return ", ".join(str(value) for value in get_args(annotation))
    if hasattr(annotation, "__metadata__"):
        return _type_name(annotation.__origin__)
    if get_args(annotation):
        return " or ".join(_type_name(part) for part in get_args(annotation))
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true, false", "Exclude": "csv, by, strip_prefix"}
    return names.get(annotation.__name__, annotation.__name__)


def schema() -> str:
    """The JSON Schema of a configuration, for editors."""
    value = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def environment(name: str) -> str:
    """A conda file with the direct dependencies of a tool, pinned as in the lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    # Where the lock has one version for old and one for new Pythons, conda gets the one for the Python named below.
    versions: dict[str, str] = {}
    for package in locked:
        versions.setdefault(package["name"], package.get("version", ""))
    wanted = [*project["dependencies"], *(line for extra in ENVIRONMENTS[name] for line in project["optional-dependencies"][extra])]
    names = sorted({re.split(r"[\[<>=!~; ]", line)[0].lower() for line in wanted})
    pins = "".join(f"      - {package}=={versions[package]}\n" for package in names)
    return (
        "# Made from uv.lock; do not edit.\nchannels:\n  - conda-forge\n  - nodefaults\n"
        f"dependencies:\n  - python=3.11\n  - pip\n  - pip:\n{pins}"
    )


def files() -> dict[Path, str]:
    """Every generated file with its content."""
    readme = ROOT / "config" / "README.md"
    found = {
        ROOT / "config" / "config.yaml": config_yaml(),
        ROOT / "config" / "schemas" / "config.schema.json": schema(),
        readme: (
            "# Settings\n\nMade from `workflow_scripts/settings/`; do not edit. Write what you change into a file of your own and give it\n"
            "with `--configfile`: it is laid over [config.yaml](config.yaml). An unknown key, a wrong type or an impossible\n"
            "combination is refused before anything starts, with the key and what would be right. Editors take\n"
            "`schemas/config.schema.json`.\n\n"
            "Runs and datasets (`people.runs`, `retrieval.datasets`) start from their pipeline's defaults and change what they name.\n\n"
            f"{settings_table()}\n"
        ),
    }
    return found | {ROOT / "envs" / f"{name}.yaml": environment(name) for name in ENVIRONMENTS}


def out_of_step() -> list[str]:
    """The generated files that differ from what would be generated now."""
    return [str(path.relative_to(ROOT)) for path, text in files().items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


def main() -> int:
    """Write or check; gives the exit status."""
    stale = out_of_step()
    if "--check" in sys.argv[1:]:
        if stale:
            sys.stderr.write(f"out of step: {', '.join(stale)}; run: python -m workflow_scripts.settings.generate\n")
        return int(bool(stale))
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
