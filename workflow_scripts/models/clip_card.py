"""Make the card of a CLIP model: fetch its weights where a tag was named, verify them, and write down what they are."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workflow_scripts.core.models import FOLDER, ModelCard, file_sha256, is_local, local_weights
from workflow_scripts.core.step import StepError, log, step


def make_card(model: dict[str, Any], folder: Path) -> ModelCard:
    """The card of a model.

    Args:
        model: `name`, `pretrained` and `sha256` as configured.
        folder: where fetched weights go.

    Raises:
        StepError: unknown architecture or tag, no network, or weights that are not the pinned ones.
    """
    import open_clip
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    name, pretrained = model["name"], model["pretrained"]
    architecture, overrides = name, {}
    if is_local(pretrained):
        weights = local_weights(pretrained)
        if Path(pretrained).is_dir():
            architecture = f"{FOLDER}{pretrained}"
            config = _folder_config(Path(pretrained))
            model_cfg, overrides = config["model_cfg"], config.get("preprocess_cfg", {})
        else:
            model_cfg = _builtin_config(name)
    else:
        model_cfg = _builtin_config(name)
        overrides = _tag_config(name, pretrained, model_cfg)
        weights = _fetch(overrides, folder)
    sha256 = file_sha256(weights)
    _check_download(weights, sha256)
    if model["sha256"] is None:
        log.info("to pin these weights, set sha256: %s", sha256)
    elif model["sha256"] != sha256:
        mend = "use the right file, or paste the new sha256 if you mean this one"
        raise StepError(f"{weights}: sha256 is {sha256}, the setting says {model['sha256']}; {mend}")
    preprocess = merge_preprocess_dict(asdict(PreprocessCfg(size=model_cfg["vision_cfg"]["image_size"])), overrides)
    preprocess["size"] = model_cfg["vision_cfg"]["image_size"]
    log.info("%s %s: %d bytes, open_clip %s", name, pretrained, weights.stat().st_size, open_clip.__version__)
    return ModelCard(name, pretrained, architecture, str(weights), weights.stat().st_size, sha256, model_cfg, preprocess)


def _builtin_config(name: str) -> dict[str, Any]:
    import open_clip

    config: dict[str, Any] | None = open_clip.get_model_config(name)
    if config is None:
        raise StepError(f"{name}: open_clip has no such architecture; it has: {', '.join(open_clip.list_models())}")
    return config


def _folder_config(folder: Path) -> dict[str, Any]:
    import json

    config: dict[str, Any] = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    if "model_cfg" not in config:
        raise StepError(f"{folder}/open_clip_config.json: no model_cfg in it")
    return config


def _tag_config(name: str, tag: str, model_cfg: dict[str, Any]) -> dict[str, Any]:
    """What open_clip knows of a tag; a wrong activation is refused, since it loads without an error and scores wrongly."""
    import open_clip

    config: dict[str, Any] = open_clip.get_pretrained_cfg(name, tag)
    if not config:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name))
        raise StepError(f"{tag}: open_clip has no such weights for {name}; it has: {tags}. A path needs a / in it")
    if bool(config.get("quick_gelu")) != bool(model_cfg.get("quick_gelu")):
        other = name.removesuffix("-quickgelu") if model_cfg.get("quick_gelu") else f"{name}-quickgelu"
        raise StepError(f"{tag}: these weights were trained with the other GELU; set the model's name to {other}")
    return config


def _check_download(weights: Path, sha256: str) -> None:
    """Large files lie in the hub client's cache under the sha256 that the hub states for them: what arrived must have it."""
    stated = weights.resolve().name
    if re.fullmatch("[0-9a-f]{64}", stated) and stated != sha256:
        raise StepError(f"{weights}: the download has sha256 {sha256}, the hub states {stated}; delete the file and try again")


def _fetch(config: dict[str, Any], folder: Path) -> Path:
    """Download the weights of a tag below `folder`, in the hub client's own cache layout, which resumes broken downloads."""
    import open_clip

    try:
        fetched = Path(open_clip.download_pretrained(config, cache_dir=str(folder)))
        # Relative, as the setting is: a project folder that is moved takes its weights along.
        return folder / fetched.absolute().relative_to(folder.absolute())
    except (OSError, RuntimeError) as error:
        source = config.get("hf_hub") or config.get("url")
        raise StepError(
            f"cannot fetch {source}: {error}\nWithout a network, copy the weights file here by hand and set pretrained to its path."
        ) from error


if job := globals().get("snakemake"):
    with step(job.log[0], online=True):
        make_card(job.params.model, Path(job.params.folder)).write(job.output[0])
