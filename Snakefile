# Darkroom: raw images, buckets and videos → training-ready datasets.
#
#   snakemake --list-rules                        what there is
#   snakemake people                              all runs of a pipeline
#   snakemake people -n --configfile my.yaml      what would be done, and why
#   snakemake people --profile slurm              the same on a cluster
#
# Settings stand in config/config.yaml; your own go into a file of yours, given with --configfile.
from snakemake.utils import min_version

min_version("9.20")


configfile: f"{workflow.basedir}/config/config.yaml"


include: "rules/common.smk"
include: "rules/models.smk"
include: "rules/people.smk"
include: "rules/people_publish.smk"
include: "rules/people_pages.smk"
include: "rules/retrieval.smk"
include: "rules/retrieval_outputs.smk"
include: "rules/retrieval_tools.smk"
include: "rules/demo.smk"


localrules:
    people,
    retrieval,
    demo,
    demo_data,
    demo_models,


rule people:
    """All people runs: manifests merged, cleaned copies published, pages to judge them by."""
    default_target: True
    input:
        lambda wc: expand(
            f"{PEOPLE}/{{run}}/{{result}}",
            run=named("people.runs", PEOPLE_RUNS),
            result=["06_publish/receipt.parquet", "07_report"],
        ),


rule retrieval:
    """All retrieval datasets: comparisons with hard negatives as Hugging Face datasets, and pages to judge them by."""
    input:
        lambda wc: [
            f"{RETRIEVAL}/{name}/{result}"
            for name in named("retrieval.datasets", DATASETS)
            for result in retrieval_params.results(name, DATASETS[name])
        ],


rule demo:
    """The demo: every pipeline on drawn data, and how well it did. Draw the data first: snakemake demo_data."""
    input:
        expand(f"{DEMO_RESULTS}/{{pipeline}}.txt", pipeline=["people", "retrieval"]),


rule demo_data:
    """Draw the sample data of the demo."""
    input:
        expand(f"{settings.demo.root}/{{pipeline}}/truth.csv", pipeline=["people", "retrieval"]),


rule demo_models:
    """Train the demo's small models anew, into results/demo/models; the committed ones in resources/demo serve as they are."""
    input:
        f"{DEMO_RESULTS}/models/clip/metrics.json",
