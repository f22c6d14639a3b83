"""Settings of the demo: drawn data with known truth."""

from pydantic import Field

from workflow_scripts.settings.base import Strict


class DemoPeople(Strict):
    """The drawn set that the people pipeline cleans."""

    images: int = Field(400, ge=20, description="How many scenes to draw; damaged and oddly named files come on top.")


class DemoRetrieval(Strict):
    """The drawn concept folders that the retrieval pipeline compares."""

    images: int = Field(
        10, ge=4, description="About how many scenes to draw of each concept; copies, damaged and oddly named files come on top."
    )


class DemoPredict(Strict):
    """The drawn projects that the predict pipeline works on."""

    groups: int = Field(24, ge=8, description="How many groups of images to draw in each project; odd ones come on top.")


class DemoLora(Strict):
    """The drawn videos of the lora pipeline."""

    backgrounds: int = Field(12, ge=1, description="How many backgrounds to draw; an unreadable one comes on top.")


class DemoAutotag(Strict):
    """The drawn shards and folders of the autotag pipeline."""

    images: int = Field(120, ge=40, description="How many scenes to draw in each shard.")
    shards: int = Field(3, ge=2, description="How many shards.")
    targets: int = Field(30, ge=10, description="How many scenes to draw in each of two folders; odd files come on top.")


class Demo(Strict):
    """Sample data, drawn by the workflow itself."""

    root: str = Field("demo_data", min_length=1, description="Folder for the drawn data; made anew by `snakemake demo_data`.")
    results_root: str = Field("results/demo", min_length=1, description="Where the demo's summary and newly trained models go.")
    seed: int = Field(7, description="Another seed draws other scenes.")
    people: DemoPeople = Field(default_factory=lambda: DemoPeople(), description="The set for the people pipeline.")
    retrieval: DemoRetrieval = Field(default_factory=lambda: DemoRetrieval(), description="The set for the retrieval pipeline.")
    predict: DemoPredict = Field(default_factory=lambda: DemoPredict(), description="The projects for the predict pipeline.")
    lora: DemoLora = Field(default_factory=lambda: DemoLora(), description="The videos for the lora pipeline.")
    autotag: DemoAutotag = Field(default_factory=lambda: DemoAutotag(), description="Collection and folders for the autotag pipeline.")
