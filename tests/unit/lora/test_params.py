"""What the rules of lora give their steps: only what results depend on, and no later surprise."""

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.lora import params
from workflow_scripts.settings.lora import LoraWorkspace


def workspace(**settings) -> LoraWorkspace:
    """Settings of a workspace."""
    return LoraWorkspace.model_validate({"base_dir": "base"} | settings)


def test_places_are_below_the_workspace_unless_the_settings_say_otherwise():
    assert (params.source(workspace()), params.library(workspace())) == ("base/source_videos", "base/00_background_library")
    own = workspace(source_videos="films", backgrounds="rooms")
    assert (params.source(own), params.library(own)) == ("films", "rooms")


def test_pose_weights_of_the_workspaces_folder_come_before_a_name_to_fetch(tmp_path):
    chosen = workspace(base_dir=str(tmp_path), pose={"weights": "mine.pt", "sha256": "a" * 64})
    assert params.pose_model(chosen) == {"kind": "pose", "name": "mine.pt", "sha256": "a" * 64}
    (tmp_path / "mine.pt").touch()
    assert params.pose_model(chosen)["name"] == str(tmp_path / "mine.pt")


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"backend": "vertex", "project": "p"}, "model"),
        ({"backend": "vertex", "model": "m"}, "project"),
        ({"backend": "openai"}, "model"),
    ],
)
def test_a_back_end_without_what_it_needs_ends_the_plan(settings, missing):
    with pytest.raises(StepError, match=rf"^w\.caption\.{missing}: needed where backend is {settings['backend']}$"):
        params.caption("w", workspace(caption=settings))


def test_how_captions_are_asked_for_is_not_what_they_depend_on():
    chosen = workspace(caption={"backend": "clip", "trigger_words": "ohwx"})
    depends, asked = params.caption("w", chosen), params.requests(chosen)
    assert depends["trigger_words"] == "ohwx"
    assert not depends.keys() & asked.keys()
    assert asked.keys() == {"concurrency", "requests_per_minute", "timeout", "attempts", "price_in", "price_out"}
    assert list(depends) == sorted(depends), "Snakemake compares texts"


def test_words_are_the_phrases_of_clip_or_the_prompt_of_a_service_and_the_users_own_file_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert params.words(workspace(), "/repo") == "/repo/resources/lora/phrases.yaml"
    service = workspace(caption={"backend": "openai", "prompt": "mine.txt"})
    assert params.words(service, "/repo") == "/repo/mine.txt"
    (tmp_path / "mine.txt").touch()
    assert params.words(service, "/repo") == "mine.txt"


def test_the_export_is_named_by_concept_else_trigger_words_else_workspace():
    assert params.export("w", workspace())["concept"] == "w"
    assert params.export("w", workspace(caption={"trigger_words": " ohwx "}))["concept"] == "ohwx"
    assert params.export("w", workspace(caption={"trigger_words": "x"}, export={"concept": "c"}))["concept"] == "c"


def test_the_target_asks_for_the_files_of_every_step():
    found = params.results(["a", "b"])
    for step in ("01_source_frames", "02_pose", "02_sorted_candidates", "03_masked_subjects", "04_metrics"):
        assert {f"{step}/a.parquet", f"{step}/b.parquet"} <= set(found)
    assert set(params.PAGES) <= set(found)
    assert {path.split("/")[0] for path in found if "manifest" in path} == {
        "04_top100_staging",
        "05_training_data",
        "06_caption",
        "07_export",
    }
