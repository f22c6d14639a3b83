# retrieval: small training sets, lists of concepts and counts, each a target of its own.
#
# in:  {results_root}/{dataset}/01_catalog/catalog.json and 02_splits/
# out: 08_subset/seed_{seed}/, 08_concepts/concepts.txt, 08_analysis/analysis.csv and analysis.svg

# What a subset's files are called stands in the settings, so there is a rule for each way to call them.
SUBSETS = {name: (dataset.subset.prefix, tuple(dataset.subset.k)) for name, dataset in DATASETS.items()}


localrules:
    retrieval_08_concepts,
    retrieval_08_analysis,
    retrieval_subset,
    retrieval_concepts,
    retrieval_analysis,


for number, (prefix, sizes) in enumerate(sorted(set(SUBSETS.values()))):

    rule:
        """Choose concepts for small training sets whose images come nearest to a number."""
        name:
            f"retrieval_08_subset_{number}"
        input:
            lambda wc: f"{RETRIEVAL}/{wc.dataset}/{retrieval_params.training_split(DATASETS[wc.dataset], wc.seed)}",
        output:
            metadata=f"{RETRIEVAL}/{{dataset}}/08_subset/seed_{{seed}}/{prefix}_metadata.json",
            sets=expand(
                f"{RETRIEVAL}/{{{{dataset}}}}/08_subset/seed_{{{{seed}}}}/train_combined_concepts_{prefix}_{{size}}_seed_{{{{seed}}}}.json",
                size=sizes,
            ),
            lists=expand(f"{RETRIEVAL}/{{{{dataset}}}}/08_subset/seed_{{{{seed}}}}/{prefix}_{{size}}_best_list.txt", size=sizes),
        log:
            f"logs/retrieval/{{dataset}}/08_subset/{prefix}_seed_{{seed}}.log",
        wildcard_constraints:
            dataset="|".join(re.escape(name) for name, subset in SUBSETS.items() if subset == (prefix, sizes)),
        localrule: True
        conda:
            "../envs/core.yaml"
        params:
            subset=lambda wc: tracked(DATASETS[wc.dataset].subset, "cover_categories", "k", "prefix", "target", seed=int(wc.seed)),
            algorithm=1,
        script:
            "../workflow_scripts/retrieval/subset.py"


rule retrieval_08_concepts:
    """List the concepts that have test images."""
    input:
        f"{RETRIEVAL}/{{dataset}}/01_catalog/catalog.json",
    output:
        f"{RETRIEVAL}/{{dataset}}/08_concepts/concepts.txt",
    log:
        "logs/retrieval/{dataset}/08_concepts.log",
    conda:
        "../envs/core.yaml"
    params:
        algorithm=1,
    script:
        "../workflow_scripts/retrieval/concepts.py"


rule retrieval_08_analysis:
    """Count concepts and images of each category, as a table and a plot."""
    input:
        f"{RETRIEVAL}/{{dataset}}/01_catalog/catalog.json",
    output:
        table=f"{RETRIEVAL}/{{dataset}}/08_analysis/analysis.csv",
        plot=report(
            f"{RETRIEVAL}/{{dataset}}/08_analysis/analysis.svg",
            category="retrieval",
            labels={"dataset": "{dataset}", "page": "images by category"},
        ),
    log:
        "logs/retrieval/{dataset}/08_analysis.log",
    conda:
        "../envs/core.yaml"
    params:
        algorithm=1,
    script:
        "../workflow_scripts/retrieval/analysis.py"


rule retrieval_subset:
    """Small training sets of each dataset, whose images come nearest to a number."""
    input:
        lambda wc: [
            f"{RETRIEVAL}/{name}/08_subset/seed_{seed}/{DATASETS[name].subset.prefix}_metadata.json"
            for name in named("retrieval.datasets", DATASETS)
            for seed in DATASETS[name].seeds
        ],
        lambda wc: catalogs(),


rule retrieval_concepts:
    """Lists of the concepts that have test images."""
    input:
        lambda wc: expand(f"{RETRIEVAL}/{{dataset}}/08_concepts/concepts.txt", dataset=named("retrieval.datasets", DATASETS)),
        lambda wc: catalogs(),


rule retrieval_analysis:
    """Tables and plots of what the datasets hold."""
    input:
        lambda wc: expand(f"{RETRIEVAL}/{{dataset}}/08_analysis/analysis.csv", dataset=named("retrieval.datasets", DATASETS)),
        lambda wc: catalogs(),
