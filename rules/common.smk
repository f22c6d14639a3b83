# Helpers of all rule files; no rules.
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError

import workflow_scripts.settings
import workflow_scripts.predict.summary as predict_summary
from workflow_scripts.core.models import card_name, checked_weights, require_sha256, slug, weights_card_name
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import StoreError, is_bucket, tree_fingerprint
from workflow_scripts.autotag import params as autotag_params
from workflow_scripts.lora import by_hand as lora_by_hand
from workflow_scripts.lora import params as lora_params
from workflow_scripts.predict import params as predict_params
from workflow_scripts.predict import sources as predict_sources
from workflow_scripts.retrieval import params as retrieval_params
from workflow_scripts.settings.params import sort_keys, tracked

try:
    settings = workflow_scripts.settings.load(config)
except workflow_scripts.settings.SettingsError as error:
    raise WorkflowError(str(error)) from None

STARTED = time.time()


def machine(threads, **values):
    """How to compute, not what. A lambda that takes `threads` calls this, and so Snakemake does not track it."""
    return values | {"device": settings.device, "threads": threads}


def model_gpus():
    """GPUs that a job with a model asks for."""
    return 0 if settings.device == "cpu" else 1


def source_fingerprint(location):
    """Changes when a file of a source folder comes, goes or changes. A bucket is listed again when its snapshot label changes."""
    if not settings.watch_sources or is_bucket(location):
        return None
    try:
        return tree_fingerprint(location)
    except StoreError as error:
        raise WorkflowError(str(error)) from None


def destination_fingerprint(location):
    """Changes when somebody touches what was published; a bucket counts as changed whenever somebody asks."""
    if is_bucket(location):
        return time.time_ns()
    return source_fingerprint(location) if Path(location).is_dir() else ""


def stray_fingerprint(dataset):
    """Changes when a file of a retrieval dataset that lies in no category folder comes or goes."""
    return planned(retrieval_params.stray_fingerprint, settings.retrieval.datasets[dataset]) if settings.watch_sources else None


def model_card(model):
    """The path of a model's card, which the models rules make."""
    return f"{settings.models_root}/cards/{card_name(model.name, model.pretrained, model.sha256)}.json"


def checked_model(where, model):
    """The model's settings, after the check that a local one is there and pinned."""
    planned(require_sha256, where, model.model_dump())
    return tracked(model, "name", "pretrained", "sha256")


def planned(function, *arguments):
    """What a pipeline's function gives; what it refuses ends the plan."""
    try:
        return function(*arguments)
    except StepError as error:
        raise WorkflowError(str(error)) from None


def allowed(check, *arguments):
    """Whether a check of a pipeline passes; what it has to say ends the plan."""
    planned(check, *arguments)
    return True


def named(where, runs):
    """The names of a pipeline's runs; without any, there is nothing that its targets could make."""
    if not runs:
        raise WorkflowError(
            f"{where} is empty: name what to work on in a file of yours and give it with --configfile; see config/README.md"
        )
    return list(runs)


def review_path(pipeline, run, step):
    """Where a person's decisions about a step are read."""
    return str(Path(settings.reviews_root) / pipeline / run / f"{step}.csv")


def reviews(pipeline, run, step):
    """The CSV of what a person decided at a step, where there is one."""
    path = review_path(pipeline, run, step)
    return [path] if Path(path).is_file() else []


def categories(dataset):
    """The categories of a retrieval dataset by the names of their files, in order; its folders are looked at once."""
    found = planned(retrieval_params.categories, dataset, settings.retrieval.datasets[dataset].model_dump_json())
    return {slug(category): category for category in found}


def catalogs():
    """The catalogs of all retrieval datasets, and what they are made from."""
    return [f"{RETRIEVAL}/{name}/{file}" for name in DATASETS for file in retrieval_params.listed(categories(name))]


def category_fingerprint(dataset, category):
    """Changes when a file of a category comes, goes or changes."""
    chosen = settings.retrieval.datasets[dataset]
    places = planned(retrieval_params.categories, dataset, chosen.model_dump_json())[category]
    return [source_fingerprint(str(Path(chosen.data_root, section.path))) for section in places]


def people_files(*results, runs=None, merged=True):
    """Some results of the people runs, or of some, with what the steps before them make."""
    runs = named("people.runs", PEOPLE_RUNS) if runs is None else runs
    return [f"{PEOPLE}/{run}/{file}" for run in runs for file in (*people_params.steps(SHARDS[run], merged=merged), *results)]


def retrieval_files():
    """What is made of all retrieval datasets."""
    made = {name: retrieval_params.results(name, DATASETS[name], categories(name)) for name in named("retrieval.datasets", DATASETS)}
    return [f"{RETRIEVAL}/{name}/{result}" for name, results in made.items() for result in results]


def projects():
    """All projects of the predict pipeline by the names of their files, skipped ones too; the table is read once."""
    return planned(predict_params.projects, settings.predict.projects)


def project_names():
    """The names of the projects to work on."""
    return named("predict.projects", [name for name, project in projects().items() if not project.skip])


def project_priority(path):
    """Small projects first, so that there are results to look at early."""
    return -predict_sources.size(path) if settings.watch_sources else 0


def summarise_predictions(dag):
    """What a run of predict that failed came to: its summary and log, from the projects that are finished."""
    validations = [job for job in dag.jobs if job.name == "predict_05_validate"]
    if validations:
        unfinished = {job.wildcards.project for job in validations if dag.needrun(job) and not dag.finished(job)}
        batch = predict_params.batch(projects(), PREDICT, predict_params.models(settings.predict))
        summary = predict_summary.summarise(predict_summary.Batch(**batch, started=STARTED), Path(PREDICT), unfinished)
        logger.error(predict_summary.describe(summary))


def videos(workspace):
    """The videos of a lora workspace by the names of their files; its folder is looked at once, and only when it is asked for."""
    chosen = settings.lora.workspaces[workspace]
    return planned(lora_params.videos, lora_params.source(chosen), chosen.slice.videos)


def lora_tables(step, workspace):
    """The tables that a step of lora makes, one a video."""
    return [f"{LORA}/{workspace}/{step}/{video}.parquet" for video in videos(workspace)]


def lora_files():
    """What is made of all lora workspaces."""
    made = {name: lora_params.results(list(videos(name))) for name in named("lora.workspaces", WORKSPACES)}
    return [f"{LORA}/{name}/{result}" for name, results in made.items() for result in results]


def weights_card(model):
    """The path of the card of a model that is one file, which the models rules make."""
    return f"{settings.models_root}/cards/{weights_card_name(model)}.json"


def labels(run, configured):
    """The CSV of a people run's labels: the configured one, else the one where the labelling page says to put it, if it is there."""
    return [configured] if configured else reviews("people", run, "labels")


def autotag_shards():
    """The shards of autotag's source; its folders are looked at once, and only when they are asked for."""
    return planned(autotag_params.shards, settings.autotag.source, settings.watch_sources)


def autotag_blocks():
    """The shards of each job."""
    return planned(autotag_params.blocks, settings.autotag.source, settings.watch_sources)


def autotag_memory(most):
    """Megabytes that training and merging ask for: half a gigabyte a shard, up to what the settings let them take (in GB), and some more."""
    return int(min(1000 * most, 500 * len(autotag_shards()))) + 8_000


def autotag_train_blocks():
    """The blocks that the index is trained on."""
    return planned(autotag_params.train_blocks, settings.autotag, settings.watch_sources)


def autotag_words(side):
    """The file with the words to look for on one side, where such are wanted."""
    chosen = settings.autotag.segmenter
    return [ancient(chosen.vocabulary or f"{AUTOTAG_SOURCE}/vocabulary.txt")] if chosen.prompts(side) == "vocabulary" else []


def autotag_targets():
    """The folders to tag, by the names of their results."""
    return planned(autotag_params.targets, settings.autotag)


def autotag_target_tags(folder):
    """The file with the tags of a folder's images, where they are the words to look for."""
    wanted = settings.autotag.segmenter.prompts("target") == "tags"
    return planned(autotag_params.target_tags, autotag_targets()[folder]) if wanted else []


def autotag_source_files():
    """What is made of the source's shards."""
    return [f"{AUTOTAG_SOURCE}/blocks/block_{block}.json" for block in autotag_blocks()]


def autotag_index_files():
    """What is made of the source: of every step, since Snakemake is silent on one that failed before a later one."""
    return [*autotag_source_files(), *autotag_params.index_files(AUTOTAG_INDEX, list(autotag_blocks()))]


def autotag_target_files(*parts):
    """Files of all folders to tag whose paths begin so."""
    names = named("autotag.target_dataset and autotag.targets", autotag_targets())
    own = [(name, file) for name in names for file in autotag_params.target_files(AUTOTAG_TARGETS, name)]
    return [file for name, file in own if file.removeprefix(f"{AUTOTAG_TARGETS}/{name}/").startswith(parts)]
