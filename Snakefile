# Darkroom: raw images, buckets and videos → training-ready datasets.
#   snakemake --list-rules                        what there is
#   snakemake people                              all runs of a pipeline
#   snakemake people -n --configfile my.yaml      what would be done, and why
#   snakemake people --profile slurm              the same on a cluster
#
# Settings stand in config/config.yaml; your own go into a file of yours, given with --configfile.
from snakemake.utils import min_version

min_version("9.20")


configfile: f"{workflow.basedir}/config/config.yaml"


# Used with --sdm apptainer alone; made by envs/darkroom.def.
container: f"{workflow.basedir}/envs/darkroom.sif"


include: "rules/common.smk"
include: "rules/models.smk"
include: "rules/people.smk"
include: "rules/people_publish.smk"
include: "rules/people_pages.smk"
include: "rules/retrieval.smk"
include: "rules/retrieval_outputs.smk"
include: "rules/retrieval_tools.smk"
include: "rules/predict.smk"
include: "rules/predict_outputs.smk"
include: "rules/lora.smk"
include: "rules/lora_outputs.smk"
include: "rules/lora_pages.smk"
include: "rules/autotag.smk"
include: "rules/autotag_targets.smk"
include: "rules/demo.smk"
include: "rules/demo_models.smk"


localrules:
    people,
    retrieval,
    predict,
    lora,
    autotag,


rule people:
    """All people runs: manifests merged, cleaned copies published, pages to judge them by."""
    default_target: True
    input:
        lambda wc: people_files("06_publish/receipt.parquet", "07_report"),


rule retrieval:
    """All retrieval datasets: comparisons with hard negatives as Hugging Face datasets, and pages to judge them by."""
    input:
        lambda wc: retrieval_files(),


rule predict:
    """All projects of predict: a database each, a page to look at the selections on, and the summary."""
    input:
        lambda wc: predict_params.results(PREDICT, project_names()),


rule lora:
    """All lora workspaces: training sets with captions, and a page to judge each step by."""
    input:
        lambda wc: lora_files(),


rule autotag:
    """All chosen folders, tagged from the index of the source: tags, neighbours, and a page to judge each folder by."""
    input:
        lambda wc: autotag_index_files() + autotag_target_files(""),


onerror:
    summarise_predictions(workflow.dag)
