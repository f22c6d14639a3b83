# retrieval: the Hugging Face datasets, and pages to judge images and comparisons on.
#
# in:  {results_root}/{dataset}/01_catalog/, 02_splits/, 04_retrieve/ and 05_combine/
# out: 06_hf_dataset/{dataset}_{category}_test_subset_seed_{seed}_K_{k}/, 07_report/ and 07_images/


localrules:
    retrieval_07_report,
    retrieval_07_images,


rule retrieval_06_hf_dataset:
    """Write a Hugging Face dataset with its card and Croissant metadata."""
    input:
        records=lambda wc: f"{RETRIEVAL}/{wc.dataset}/{retrieval_params.hf_source(DATASETS[wc.dataset], wc.part, wc.seed, wc.k)}",
        inventories=lambda wc: expand(
            f"{RETRIEVAL}/{wc.dataset}/00_inventory/{{category}}.parquet",
            category=categories(wc.dataset),
        ),
        template=lambda wc: retrieval_params.template(DATASETS[wc.dataset], wc.variant),
    output:
        directory(
            f"{RETRIEVAL}/{{dataset}}/06_hf_dataset/{{dataset}}_{{part}}_test_subset{{variant}}_seed_{{seed}}_K_{{k}}",
        ),
    log:
        "logs/retrieval/{dataset}/06_hf_dataset/{part}_test_subset{variant}_seed_{seed}_K_{k}.log",
    benchmark:
        "benchmarks/retrieval/{dataset}/06_hf_dataset/{part}_test_subset{variant}_seed_{seed}_K_{k}.tsv"
    wildcard_constraints:
        part=r"[A-Za-z0-9._-]+",
        variant="|_listener",
    conda:
        "../envs/hub.yaml"
    threads: 4
    resources:
        mem_mb=lambda wc, attempt: 4_000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        dataset=lambda wc: tracked(
            DATASETS[wc.dataset],
            "category_names",
            "data_root",
            "relative",
            category="all" if wc.part == "all" else categories(wc.dataset)[wc.part],
            dataset=wc.dataset,
            k=int(wc.k),
            seed=int(wc.seed),
            variant="listener" if wc.variant else "speaker",
        ),
        algorithm=1,
    script:
        "../workflow_scripts/retrieval/hf_dataset.py"


rule retrieval_07_report:
    """A page to judge the comparisons by: query, positive, negative; counts and similarities by category."""
    input:
        records=lambda wc: retrieval_params.of_categories(DATASETS[wc.dataset], RETRIEVAL, wc, list(categories(wc.dataset)), ".json"),
        metadata=lambda wc: retrieval_params.of_categories(
            DATASETS[wc.dataset], RETRIEVAL, wc, list(categories(wc.dataset)), "_metadata.json"
        ),
        images=f"{RETRIEVAL}/{{dataset}}/01_catalog/images.parquet",
        splits=f"{RETRIEVAL}/{{dataset}}/02_splits/seed_{{seed}}/train_val_combined_metadata_seed_{{seed}}.json",
        # Named by concept_frac, as its metadata is not: another fraction then makes both anew.
        train=lambda wc: f"{RETRIEVAL}/{wc.dataset}/{retrieval_params.training_split(DATASETS[wc.dataset], wc.seed)}",
    output:
        report(
            directory(f"{RETRIEVAL}/{{dataset}}/07_report/seed_{{seed}}_K_{{k}}"),
            htmlindex="index.html",
            category="retrieval",
            labels={"dataset": "{dataset}", "page": "comparisons, seed {seed}, K {k}"},
        ),
    log:
        "logs/retrieval/{dataset}/07_report/seed_{seed}_K_{k}.log",
    benchmark:
        "benchmarks/retrieval/{dataset}/07_report/seed_{seed}_K_{k}.tsv"
    conda:
        "../envs/core.yaml"
    params:
        report=lambda wc: tracked(
            DATASETS[wc.dataset],
            "data_root",
            "duplicate_similarity",
            "relative",
            "retrieval_source",
            dataset=wc.dataset,
            k=int(wc.k),
            max_pixels=settings.images.max_pixels,
            reviews=review_path("retrieval", wc.dataset, "retrieve"),
            seed=int(wc.seed),
        ),
        machine=lambda wc, threads: {"threads": threads, "cache_root": settings.cache_root},
        algorithm=1,
    script:
        "../workflow_scripts/retrieval/report.py"


rule retrieval_07_images:
    """A page with every file of the dataset: where it went, or why it was left out."""
    input:
        f"{RETRIEVAL}/{{dataset}}/01_catalog/images.parquet",
    output:
        report(
            directory(f"{RETRIEVAL}/{{dataset}}/07_images"),
            htmlindex="index.html",
            category="retrieval",
            labels={"dataset": "{dataset}", "page": "images"},
        ),
    log:
        "logs/retrieval/{dataset}/07_images.log",
    benchmark:
        "benchmarks/retrieval/{dataset}/07_images.tsv"
    conda:
        "../envs/core.yaml"
    params:
        page=lambda wc: tracked(
            DATASETS[wc.dataset],
            "data_root",
            dataset=wc.dataset,
            max_pixels=settings.images.max_pixels,
            reviews=review_path("retrieval", wc.dataset, "catalog"),
        ),
        machine=lambda wc, threads: {"threads": threads, "cache_root": settings.cache_root},
        algorithm=1,
    script:
        "../workflow_scripts/retrieval/images_page.py"
