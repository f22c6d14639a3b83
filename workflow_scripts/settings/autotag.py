"""Settings of the `autotag` pipeline."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from workflow_scripts.settings.base import ClipModel, Exclude, Fraction, Sha256, Slug, Strict

BatchSize = int | Literal["auto"]
Prompts = Literal["auto", "tags", "vocabulary", "everything"]
WITH_TEXT = ("sam3",)  # segmenters that are asked in words; they cannot be asked for everything
CLIPS = {"cpu": 32, "cuda": 192}  # crops a forward pass, where batch_clips is auto


class Source(Strict):
    """The tagged collection that tags come from: web dataset shards."""

    dataset: str | None = Field(
        None, min_length=1, description="Folder with the shards: NNNNN.tar, and NNNNN.parquet with a row a sample; only ever read."
    )
    tags: str | None = Field(
        None, min_length=1, description="Folder with the tags of each shard, NNNNN.json: [{key, tags, ...}]; null: beside the shards."
    )
    start_shard: int = Field(0, ge=0, le=99_999, description="The first shard, by the number in its name.")
    end_shard: int | None = Field(None, ge=1, le=100_000, description="The shard after the last one; null: all there are.")
    block_shards: int = Field(
        64, ge=1, description="Shards a job, by their numbers: 10,000 shards are 157 jobs. A job should last minutes to hours."
    )

    @model_validator(mode="after")
    def _some(self) -> "Source":
        if self.end_shard is not None and self.end_shard <= self.start_shard:
            raise ValueError(f"end_shard ({self.end_shard}) is exclusive and has to be above start_shard ({self.start_shard})")
        return self


class Segmenter(Strict):
    """How images are taken apart."""

    backend: Literal["sam3", "sam2", "sam", "mobile_sam", "fastsam"] = Field(
        "sam3", description="sam3 finds what words name; the others find everything, without names."
    )
    weights: str | None = Field(
        None,
        min_length=1,
        description="Weights file, or the name of one that Ultralytics publishes; null: sam3.pt (to be asked for at its makers), "
        "sam2.1_l.pt, sam_l.pt, mobile_sam.pt or FastSAM-x.pt.",
    )
    sha256: Sha256 | None = Field(None, description="sha256 of the weights file. Required for a path; pins the download of a name.")
    imgsz: int = Field(1024, ge=32, description="Pixels of the square that it sees, rounded up to its stride; sam3 was made for 1008.")
    conf: Fraction = Field(0.25, description="Segments below this confidence do not count.")
    min_area: int = Field(150, ge=0, description="Segments of fewer pixels, of the mask where there is one, are left out.")
    min_crop: int = Field(1, ge=1, description="Crops with a shorter side below so many pixels are left out.")
    max_segments: int = Field(64, ge=1, description="The surest so many of an image are taken.")
    batch_images: BatchSize = Field("auto", description="Images a forward pass, for fastsam; auto = 1 on a CPU, 24 on a GPU.")
    source_prompts: Prompts = Field(
        "auto",
        description="What is looked for in the source: an image's tags, a vocabulary, or everything; auto: tags for sam3, else the last.",
    )
    target_prompts: Prompts = Field(
        "auto",
        description="The same for targets; auto: vocabulary for sam3, else everything. tags needs {folder}.json beside a target.",
    )
    vocabulary: str | None = Field(
        None, min_length=1, description="File with a word or phrase a line; null: the 200 most frequent tags of the source."
    )
    whole_image: bool = Field(True, description="Take the whole image as one more crop; a target without a segment gets it anyway.")

    @model_validator(mode="after")
    def _sensible(self) -> "Segmenter":
        for name in ("source_prompts", "target_prompts"):
            chosen = getattr(self, name)
            if self.backend in WITH_TEXT and chosen == "everything":
                raise ValueError(f"{name}: {self.backend} finds what words name, and has no way to find everything; use tags or vocabulary")
            if self.backend not in WITH_TEXT and chosen in ("tags", "vocabulary"):
                raise ValueError(f"{name}: {self.backend} cannot be asked in words; use everything, or backend sam3")
        return self

    def prompts(self, side: Literal["source", "target"]) -> Literal["tags", "vocabulary", "everything"]:
        """What one side is searched for, `auto` resolved."""
        chosen: Prompts = self.source_prompts if side == "source" else self.target_prompts
        if chosen != "auto":
            return chosen
        if self.backend not in WITH_TEXT:
            return "everything"
        return "tags" if side == "source" else "vocabulary"


class AutotagClip(ClipModel):
    """The CLIP model that crops are embedded with."""

    batch_clips: BatchSize = Field("auto", description="Crops a forward pass, of one image or of many; auto = 32 on a CPU, 192 on a GPU.")


class Faiss(Strict):
    """The index of the source's segments."""

    factory: str = Field(
        "auto", min_length=1, description="FAISS factory text; auto: by the number of segments, Flat to OPQ64,IVF131072,PQ64x8np."
    )
    nprobe: int | Literal["auto"] = Field(
        "auto", description="Lists that a search looks through; auto: the smallest power of two that reaches a recall@10 of 0.9."
    )
    rerank: int | Literal["auto"] = Field(
        "auto",
        description="So many candidates are compared again with the stored vectors; 0: none; auto: 200 where the index holds codes (PQ).",
    )
    train_shards: list[Annotated[int, Field(ge=0)]] | Literal["auto"] = Field(
        "auto", description="Shards that the index is trained on; auto: 256 by chance, recorded when first drawn. Another list trains anew."
    )
    train_label: str = Field("1", description="Another label draws and trains anew.")
    train_memory_gb: float = Field(16.0, gt=0, description="Memory that the training sample may take.")
    on_disk_gb: float = Field(32.0, ge=0, description="A larger index is merged on disk, and read from there.")
    k: int = Field(10, ge=1, description="Neighbours of a crop that count in a vote.")
    k_max: int = Field(50, ge=1, description="Neighbours of a crop that are kept, so that fewer of them may count.")
    batch: int = Field(20_000, ge=1, description="Crops that are searched for at a time.")
    gpu: Literal["auto", "cpu", "replicate", "shard"] = Field(
        "auto",
        description="Search on a CPU, or on all GPUs: the whole index on each (replicate), or a part of it on each (shard); either "
        "without a GPU is an error. auto: replicate where this FAISS sees a GPU.",
    )

    @model_validator(mode="after")
    def _sensible(self) -> "Faiss":
        if self.k > self.k_max:
            raise ValueError(f"k ({self.k}) is above k_max ({self.k_max}), the number of neighbours that are kept")
        if (isinstance(self.nprobe, int) and self.nprobe < 1) or (isinstance(self.rerank, int) and self.rerank < 0):
            raise ValueError("nprobe must be at least 1 and rerank at least 0, or auto")
        if isinstance(self.rerank, int) and 0 < self.rerank < self.k_max:
            raise ValueError(f"rerank ({self.rerank}) is below k_max ({self.k_max}): that many candidates are kept anyway")
        if self.train_shards == []:
            raise ValueError("train_shards is empty; name shards, or use auto")
        return self


class Vote(Strict):
    """How neighbours' tags become an image's tags."""

    unit: Literal["crop", "neighbour"] = Field(
        "crop", description="Who votes for an image's tags: each of its crops once a tag, or every neighbour of every crop."
    )
    min_votes: int = Field(3, ge=1, description="Votes that a tag needs.")
    min_share: Fraction = Field(0.3, description="A crop votes for a tag that at least this part of its neighbours carry.")
    weighting: Literal["count", "similarity", "idf"] = Field(
        "count", description="What orders tags of equal votes: their number, their similarity, or how rare they are in the source."
    )
    min_similarity: float = Field(0.0, ge=-1, le=1, description="Neighbours below this cosine do not count.")
    one_vote_per_image: bool = Field(True, description="Of several neighbours from one source image the nearest counts.")
    tags: Literal["auto", "label", "image"] = Field(
        "auto",
        description="Which tags a neighbour carries: the label of the segment, or all tags of its image. auto: the label where the "
        "segmenter gives one.",
    )
    relax_small: bool = Field(True, description="An image with fewer crops than min_votes needs the votes of all of them.")
    aliases: dict[str, str] = Field(default_factory=dict, description="Tags to write otherwise, such as {automobile: car}.")


class Autotag(Strict):
    """The pipeline that tags folders of images from a large tagged collection, by nearest neighbours of their segments."""

    source: Source = Field(default_factory=lambda: Source(), description="Where tags come from.")
    target_dataset: str | None = Field(None, min_length=1, description="Folder with a folder of images for each target; only ever read.")
    folders: list[str] | Literal["all"] = Field(
        "all", description="Which folders of target_dataset; names made of digits need quotes: ['00290']."
    )
    targets: dict[Slug, str] = Field(
        default_factory=dict, description="Targets anywhere: {name: folder}; beside those of target_dataset. {folder}.json may hold tags."
    )
    source_output: str = Field("results/autotag/01_source", min_length=1, description="Where the source's segments go.")
    index_dir: str = Field("results/autotag", min_length=1, description="Where the index goes: a billion segments are a terabyte.")
    target_output: str = Field("results/autotag/targets", min_length=1, description="Where targets' segments, tags and pages go.")
    segmenter: Segmenter = Field(default_factory=lambda: Segmenter(), description="Taking images apart.")
    clip: AutotagClip = Field(default_factory=lambda: AutotagClip(), description="The CLIP model; another one begins anew.")
    faiss: Faiss = Field(default_factory=lambda: Faiss(), description="The index.")
    vote: Vote = Field(default_factory=lambda: Vote(), description="From neighbours to tags.")
    exclude: list[Exclude] = Field([], description="Source images that may not vote, such as those of a test set.")

    @model_validator(mode="after")
    def _sensible(self) -> "Autotag":
        for place, size in (("segmenter.batch_images", self.segmenter.batch_images), ("clip.batch_clips", self.clip.batch_clips)):
            if isinstance(size, int) and size < 1:
                raise ValueError(f"{place} must be at least 1, or auto")
        if self.vote.tags == "label" and self.segmenter.prompts("source") == "everything":
            raise ValueError("vote.tags: label needs segments with a name; with source_prompts: everything use image")
        read = [self.source.dataset, self.source.tags, self.target_dataset, *self.targets.values()]
        for name in ("source_output", "target_output", "index_dir"):
            place = getattr(self, name)
            if any(Path(place) == Path(source) for source in read if source):
                raise ValueError(f"{name} is {place}, which is only ever read; name another folder")
        return self


def vote_tags(chosen: Autotag) -> str:
    """Which tags a neighbour carries, `auto` resolved."""
    if chosen.vote.tags != "auto":
        return chosen.vote.tags
    return "image" if chosen.segmenter.prompts("source") == "everything" else "label"
