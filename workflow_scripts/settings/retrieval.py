"""Settings of the `retrieval` pipeline."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from workflow_scripts.core.storage import is_bucket
from workflow_scripts.settings.base import ClipModel, Exclude, Fraction, Slug, Strict, inherit, lies_within

Name = Annotated[str, Field(min_length=1)]
CATEGORY_NAMES = {"decoration": "decoration object", "retail": "retail object", "tro_bag": "trolley bag", "veg": "vegetable"}


class HfDataset(Strict):
    """What the Hugging Face dataset holds."""

    category: str = Field("all", min_length=1, description="all, or the one category whose records it takes.")
    variants: list[Literal["speaker", "listener"]] = Field(
        ["speaker"],
        min_length=1,
        description="speaker: which of K references shows the query's concept; listener: does one reference show it, yes or no.",
    )
    speaker_template: str | None = Field(
        None, min_length=1, description="Jinja file with the speaker's problem text; default: a built-in one."
    )
    listener_template: str | None = Field(None, min_length=1, description="Likewise for the listener's.")


class Subset(Strict):
    """Which small training sets the target `retrieval_subset` chooses."""

    target: int = Field(1000, ge=1, description="How many images the chosen concepts should have together.")
    k: list[int] = Field([5, 10, 20], min_length=1, description="How many concepts to choose; a set is written for each.")
    prefix: Slug = Field("best", description="In the names of the files.")
    cover_categories: bool = Field(False, description="Take at least one concept of every category.")


class RetrievalDefaults(Strict):
    """What every dataset uses unless it says otherwise."""

    relative: bool = Field(False, description="Paths in catalog.json and what follows are below data_root; else data_root stands in front.")
    train_fraction: Fraction = Field(0.2, description="Part of a concept's images that is for training, where folders do not say it.")
    num_train: int | None = Field(None, ge=1, description="So many training images of each concept, in place of the fraction.")
    catalog_seed: int = Field(42, description="Another seed divides each concept otherwise.")
    train_dirname: str = Field("train", min_length=1, description="Folder of the training images, where folders say it.")
    test_dirname: str = Field("test", min_length=1, description="Folder of the test images, where folders say it.")
    concept_categories: dict[str, Name] = Field(
        {}, description="concept: category, for sets whose concept folders lie in no category folder (YoLLaVA, MyVLM)."
    )
    category_names: dict[str, Name] = Field(CATEGORY_NAMES, description="category: what texts call it; others go by their folder's name.")
    concept_frac: Fraction = Field(0.65, description="Part of a category's concepts that is for training; the others are for validation.")
    min_concepts_threshold: int = Field(3, ge=2, description="Categories with fewer concepts go to validation as a whole.")
    test_sample_frac: Fraction = Field(1.0, description="Part of a training concept's test images that joins its training images.")
    max_test_images: int = Field(200, ge=0, description="At most so many of them; 0 takes none.")
    seeds: list[int] = Field([23], min_length=1, description="Each gives splits, retrieval and datasets of its own.")
    categories: list[str] | None = Field(None, min_length=1, description="Only these, in this order; default: all, sorted.")
    retrieval_source: Literal["catalog", "train", "validation"] = Field(
        "catalog", description="Whose training images are queries and references: all, or those of one side of the split."
    )
    top_k: list[int] = Field([3], min_length=1, description="References of a query: 1 positive and K - 1 negatives.")
    positive: Literal["hard", "easy", "random"] = Field("hard", description="Of the same concept: least similar, most similar, or any.")
    negatives: Literal["nearest", "random"] = Field("nearest", description="Most similar images of other concepts, or any.")
    negative_pool: Literal["category", "category_then_dataset", "dataset"] = Field(
        "category", description="Where other concepts come from: the category, first it and then the others, or all alike."
    )
    candidate_concepts: int = Field(8, ge=1, description="How many nearest concepts give their most similar image; the best K - 1 stay.")
    duplicate_similarity: float | None = Field(
        None, gt=0, le=1, description="Images at least this similar to the query are no negatives; copies never are."
    )
    num_samples: int | None = Field(None, ge=1, description="Combine a sample of so many records; default all.")
    stratified: bool = Field(False, description="Sample every category alike, as far as it reaches.")
    hf: HfDataset = Field(default_factory=lambda: HfDataset(), description="The Hugging Face dataset.")
    subset: Subset = Field(default_factory=lambda: Subset(), description="The target retrieval_subset.")
    model: ClipModel = Field(
        default_factory=lambda: ClipModel(name="ViT-L-14-336-quickgelu", pretrained="openai"), description="The CLIP model that compares."
    )
    batch_size: int | Literal["auto"] = Field("auto", description="Images a forward pass; auto = 32 on a CPU, 256 on a GPU.")
    exclude: list[Exclude] = Field([], description="Lists of images to leave out, such as the removed_all.csv of a people run.")

    @model_validator(mode="after")
    def _sensible(self) -> "RetrievalDefaults":
        if isinstance(self.batch_size, int) and self.batch_size < 1:
            raise ValueError("batch_size must be at least 1, or auto")
        for name, least in (("top_k", 2), ("seeds", None), ("categories", None), ("hf.variants", None), ("subset.k", 1)):
            group: Any = self
            for part in name.split("."):
                group = getattr(group, part)
            values = group or []
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names a value twice: {values}")
            if least is not None and min(values) < least:
                raise ValueError(f"{name}: {min(values)} is too small, the least is {least}")
        for name in ("train_dirname", "test_dirname"):
            if "/" in getattr(self, name) or getattr(self, name) in (".", ".."):
                raise ValueError(f"{name} must be the name of one folder in data_root")
        if self.train_dirname == self.test_dirname:
            raise ValueError("train_dirname and test_dirname must differ")
        return self

    @property
    def percent(self) -> int:
        """concept_frac as the whole percent that stands in file names."""
        return round_half_up(Decimal(100) * Decimal(str(self.concept_frac)))


class RetrievalDataset(RetrievalDefaults):
    """One set of concept folders, and what it does differently from the defaults."""

    data_root: str = Field(min_length=1, description="Folder with {category}/{concept}/, or with train/ and test/ above them. Only read.")

    @model_validator(mode="after")
    def _fits(self) -> "RetrievalDataset":
        if is_bucket(self.data_root) or "://" in self.data_root:
            raise ValueError(f"data_root: {self.data_root} is no folder; this pipeline reads folders (copy or mount the bucket)")
        return self


class Retrieval(Strict):
    """The pipeline that turns concept folders into a training set of hard comparisons."""

    results_root: str = Field("results/retrieval", min_length=1, description="Where tables, records and datasets go.")
    defaults: RetrievalDefaults = Field(
        default_factory=lambda: RetrievalDefaults(), description="What every dataset uses unless it says otherwise."
    )
    datasets: dict[Slug, RetrievalDataset] = Field(default_factory=dict, description="One entry a dataset, named by its id.")

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, values: Any) -> Any:
        """Datasets start from the defaults."""
        return inherit(values, "datasets")

    @model_validator(mode="after")
    def _places(self) -> "Retrieval":
        for name, dataset in self.datasets.items():
            if lies_within(self.results_root, dataset.data_root):
                raise ValueError(
                    f"datasets.{name}.data_root ({dataset.data_root}) holds results_root ({self.results_root}); "
                    "results would become categories"
                )
        return self


def round_half_up(value: Decimal) -> int:
    """To the nearest whole number, halves upwards; decimals as people write them, so that 0.285 · 100 is 28.5."""
    return int(value.quantize(Decimal(1), rounding=ROUND_HALF_UP))
