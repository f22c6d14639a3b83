"""Settings of the autotag pipeline: defaults as the contract has them, what `auto` means, and what is refused."""

import pytest

from workflow_scripts.settings import SettingsError, load
from workflow_scripts.settings.autotag import Autotag, vote_tags


def test_the_defaults_are_those_of_the_specification():
    found = Autotag().model_dump()
    segmenter = {"backend": "sam3", "imgsz": 1024, "conf": 0.25, "min_area": 150, "min_crop": 1, "max_segments": 64, "whole_image": True}
    assert found["segmenter"].items() >= segmenter.items()
    vote = {"unit": "crop", "min_votes": 3, "min_share": 0.3, "weighting": "count", "min_similarity": 0.0}
    assert found["vote"].items() >= (vote | {"one_vote_per_image": True, "relax_small": True, "aliases": {}}).items()
    faiss = {"factory": "auto", "nprobe": "auto", "k": 10, "k_max": 50, "batch": 20_000, "gpu": "auto"}
    assert found["faiss"].items() >= faiss.items()
    assert (found["clip"]["name"], found["folders"], found["exclude"], found["source"]["start_shard"]) == ("ViT-B-32", "all", [], 0)


@pytest.mark.parametrize(
    ("segmenter", "source", "target", "tags"),
    [
        ({}, "tags", "vocabulary", "label"),
        ({"source_prompts": "vocabulary", "target_prompts": "tags"}, "vocabulary", "tags", "label"),
        ({"backend": "fastsam"}, "everything", "everything", "image"),
        ({"backend": "sam2", "source_prompts": "everything"}, "everything", "everything", "image"),
    ],
)
def test_what_auto_means_depends_on_whether_the_segmenter_can_be_asked_in_words(segmenter, source, target, tags):
    found = Autotag.model_validate({"segmenter": segmenter})
    assert (found.segmenter.prompts("source"), found.segmenter.prompts("target"), vote_tags(found)) == (source, target, tags)


def test_tags_of_the_whole_image_can_be_asked_for_with_any_segmenter():
    assert vote_tags(Autotag.model_validate({"vote": {"tags": "image"}})) == "image"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"folders": [184]}, ["autotag.folders.0: 184 is wrong: input should be a valid string (text made of digits needs quotes)"]),
        ({"folders": "some"}, ["autotag.folders: 'some' is wrong: input should be 'all' (values after --config are text: "]),
        ({"targets": {"a b": "x"}}, ["autotag.targets.a b: 'a b' cannot be a name"]),
        ({"segmenter": {"target_prompts": "everything"}}, ["autotag.segmenter: target_prompts: sam3 finds what words name"]),
        ({"segmenter": {"backend": "sam", "source_prompts": "tags"}}, ["autotag.segmenter: source_prompts: sam cannot be asked in words"]),
        ({"segmenter": {"batch_images": 0}}, ["autotag: segmenter.batch_images must be at least 1, or auto"]),
        ({"clip": {"batch_clips": 0}}, ["autotag: clip.batch_clips must be at least 1, or auto"]),
        (
            {"source": {"start_shard": 5, "end_shard": 5}},
            ["autotag.source: end_shard (5) is exclusive and has to be above start_shard (5)"],
        ),
        ({"faiss": {"k": 60}}, ["autotag.faiss: k (60) is above k_max (50)"]),
        ({"faiss": {"rerank": 20}}, ["autotag.faiss: rerank (20) is below k_max (50)"]),
        ({"faiss": {"nprobe": 0}}, ["autotag.faiss: nprobe must be at least 1"]),
        ({"faiss": {"rerank": -1}}, ["autotag.faiss: nprobe must be at least 1 and rerank at least 0"]),
        ({"faiss": {"train_shards": []}}, ["autotag.faiss: train_shards is empty"]),
        ({"faiss": {"train_shards": [-1]}}, ["autotag.faiss.train_shards.0: -1 is wrong: input should be greater than or equal to 0"]),
        (
            {"segmenter": {"backend": "sam"}, "vote": {"tags": "label"}},
            ["autotag: vote.tags: label needs segments with a name"],
        ),
        ({"target_dataset": "here/", "target_output": "here"}, ["autotag: target_output is here, which is only ever read"]),
        ({"source": {"dataset": "here"}, "source_output": "./here"}, ["autotag: source_output is ./here, which is only ever read"]),
        ({"targets": {"a": "here"}, "index_dir": "here"}, ["autotag: index_dir is here, which is only ever read"]),
    ],
)
def test_what_is_refused_is_said_once(wrong, said):
    with pytest.raises(SettingsError) as error:
        load({"autotag": wrong})
    lines = [line.strip() for line in str(error.value).splitlines()[1:]]
    assert len(lines) == len(said)
    assert all(line.startswith(text) for line, text in zip(lines, said, strict=True))
