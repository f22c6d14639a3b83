"""Settings as Snakemake's params: plain values with sorted keys, since Snakemake compares params by their text."""

from typing import Any

from workflow_scripts.settings.base import Store


def sort_keys(value: Any) -> Any:
    """Groups and dicts as dicts with sorted keys, at every depth; lists keep their order."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: sort_keys(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [sort_keys(item) for item in value]
    return value


def tracked(group: Any, *names: str, **more: Any) -> dict[str, Any]:
    """Some settings of a group as a plain dict: what a step's result depends on, and nothing else."""
    found: dict[str, Any] = sort_keys({name: getattr(group, name) for name in names} | more)
    return found


def store(group: Store, *, used: bool) -> dict[str, Any]:
    """How the buckets of a run are reached; nothing where it uses none, so that a folder's results depend on no region."""
    return tracked(group, "region", "endpoint_url", "addressing") if used else {}
