# retrieval: concept folders to comparisons of images with a positive and hard negatives.
#
# in:  data_root of each dataset (retrieval.datasets)
# out: {results_root}/{dataset}/01_catalog/catalog.json, 02_splits/, and 05_combine/ with the records of all categories

RETRIEVAL = settings.retrieval.results_root
DATASETS = settings.retrieval.datasets


localrules:
    retrieval_01_catalog,
    retrieval_05_combine,


wildcard_constraints:
    dataset="|".join(map(re.escape, DATASETS)) or "none",
    category=r"[A-Za-z0-9._-]+",
    seed=r"-?\d+",
    k=r"\d+",
    side="|val_",
    subset=r"|_subset_\d+",
    samples=r"\d+|all",


rule retrieval_00_inventory:
    """Look at the files of a category: content, size, perceptual hash, and which cannot be read."""
    output:
        f"{RETRIEVAL}/{{dataset}}/00_inventory/{{category}}.parquet",
    log:
        "logs/retrieval/{dataset}/00_inventory/{category}.log",
    benchmark:
        "benchmarks/retrieval/{dataset}/00_inventory/{category}.tsv"
    conda:
        "../envs/hash.yaml"
    threads: 8
    resources:
        mem_mb=lambda wc, attempt: 4_000 * attempt,
    params:
        layout=lambda wc: retrieval_params.layout(DATASETS[wc.dataset]),
        category=lambda wc: categories(wc.dataset)[wc.category],
        fingerprint=lambda wc: category_fingerprint(wc.dataset, categories(wc.dataset)[wc.category]),
        max_pixels=settings.images.max_pixels,
        machine=lambda wc, threads: {"threads": threads, "cache_root": settings.cache_root},
        algorithm=1,
    script:
        "../workflow_scripts/retrieval/inventory.py"


rule retrieval_01_catalog:
    """Divide each concept's images into training and test; unreadable, excluded and dropped ones are left out."""
    input:
        inventories=lambda wc: expand(f"{RETRIEVAL}/{wc.dataset}/00_inventory/{{category}}.parquet", category=categories(wc.dataset)),
        reviews=lambda wc: reviews("retrieval", wc.dataset, "catalog"),
        exclude=lambda wc: [entry.csv for entry in DATASETS[wc.dataset].exclude],
    output:
        catalog=f"{RETRIEVAL}/{{dataset}}/01_catalog/catalog.json",
        images=f"{RETRIEVAL}/{{dataset}}/01_catalog/images.parquet",
    log:
        "logs/retrieval/{dataset}/01_catalog.log",
    conda:
        "../envs/core.yaml"
    params:
        catalog=lambda wc: retrieval_params.catalog(DATASETS[wc.dataset]),
        categories=lambda wc: list(categories(wc.dataset).values()),
        layout=lambda wc: retrieval_params.layout(DATASETS[wc.dataset]),
        strays=lambda wc: stray_fingerprint(wc.dataset),
        algorithm=1,
    script:
        "../workflow_scripts/retrieval/catalog.py"


# The percentage stands in some names of the files and not in others, so there is a rule for each that is in use.
for percent in sorted({dataset.percent for dataset in DATASETS.values()}):

    rule:
        """Choose the concepts for training and for validation."""
        name:
            f"retrieval_02_splits_{percent}"
        input:
            catalog=f"{RETRIEVAL}/{{dataset}}/01_catalog/catalog.json",
            images=f"{RETRIEVAL}/{{dataset}}/01_catalog/images.parquet",
        output:
            train=f"{RETRIEVAL}/{{dataset}}/02_splits/seed_{{seed}}/train_combined_concepts_subset_{percent}.json",
            validation=f"{RETRIEVAL}/{{dataset}}/02_splits/seed_{{seed}}/validation_combined_concepts_subset_{percent}.json",
            metadata=f"{RETRIEVAL}/{{dataset}}/02_splits/seed_{{seed}}/train_val_combined_metadata_seed_{{seed}}.json",
        log:
            "logs/retrieval/{dataset}/02_splits/seed_{seed}.log",
        wildcard_constraints:
            dataset="|".join(re.escape(name) for name, dataset in DATASETS.items() if dataset.percent == percent),
        localrule: True
        conda:
            "../envs/core.yaml"
        params:
            splits=lambda wc: retrieval_params.splits(DATASETS[wc.dataset], int(wc.seed)),
            algorithm=1,
        script:
            "../workflow_scripts/retrieval/splits.py"


rule retrieval_03_embed:
    """Embed the images of a category with CLIP."""
    input:
        inventory=f"{RETRIEVAL}/{{dataset}}/00_inventory/{{category}}.parquet",
        model=lambda wc: ancient(model_card(DATASETS[wc.dataset].model)),
    output:
        f"{RETRIEVAL}/{{dataset}}/03_embed/{{category}}.parquet",
    log:
        "logs/retrieval/{dataset}/03_embed/{category}.log",
    benchmark:
        "benchmarks/retrieval/{dataset}/03_embed/{category}.tsv"
    retries: 2
    conda:
        "../envs/clip.yaml"
    threads: 8
    resources:
        gpu=model_gpus(),
        mem_mb=lambda wc, attempt: 8_000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        embedding=lambda wc: sort_keys({"views": "center", "decode_mode": settings.images.decode, "max_pixels": settings.images.max_pixels}),
        model=lambda wc: tracked(DATASETS[wc.dataset].model, "name", "pretrained", "sha256"),
        data_root=lambda wc: DATASETS[wc.dataset].data_root,
        machine=lambda wc, threads: machine(threads, batch=DATASETS[wc.dataset].batch_size, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/retrieval/embed.py"


rule retrieval_04_retrieve:
    """Find a positive and hard negatives for every query of a category."""
    input:
        catalog=lambda wc: f"{RETRIEVAL}/{wc.dataset}/{retrieval_params.source(wc.side, wc.subset, wc.seed)}",
        embeddings=lambda wc: expand(
            f"{RETRIEVAL}/{wc.dataset}/03_embed/{{category}}.parquet",
            category=[wc.category] if DATASETS[wc.dataset].negative_pool == "category" else categories(wc.dataset),
        ),
        reviews=lambda wc: reviews("retrieval", wc.dataset, "retrieve"),
    output:
        records=f"{RETRIEVAL}/{{dataset}}/04_retrieve/{{category}}/seed_{{seed}}/{{side}}retrieval_top{{k}}{{subset}}.json",
        metadata=f"{RETRIEVAL}/{{dataset}}/04_retrieve/{{category}}/seed_{{seed}}/{{side}}retrieval_top{{k}}{{subset}}_metadata.json",
    log:
        "logs/retrieval/{dataset}/04_retrieve/{category}/seed_{seed}/{side}retrieval_top{k}{subset}.log",
    benchmark:
        "benchmarks/retrieval/{dataset}/04_retrieve/{category}/seed_{seed}/{side}retrieval_top{k}{subset}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=lambda wc, attempt: 4_000 * attempt,
    params:
        retrieval=lambda wc: retrieval_params.retrieve(DATASETS[wc.dataset], categories(wc.dataset)[wc.category], int(wc.seed), int(wc.k)),
        machine=lambda wc, threads: {"threads": threads},
        algorithm=1,
    script:
        "../workflow_scripts/retrieval/retrieve.py"


rule retrieval_05_combine:
    """Put the records of all categories, or a sample of them, into one file."""
    input:
        lambda wc: expand(
            f"{RETRIEVAL}/{wc.dataset}/04_retrieve/{{category}}/seed_{wc.seed}/{wc.side}retrieval_top{wc.k}{wc.subset}.json",
            category=categories(wc.dataset),
        ),
    output:
        records=f"{RETRIEVAL}/{{dataset}}/05_combine/all/seed_{{seed}}/{{side}}retrieval_top{{k}}{{subset}}_combined_{{samples}}.json",
        metadata=f"{RETRIEVAL}/{{dataset}}/05_combine/all/seed_{{seed}}/{{side}}retrieval_top{{k}}{{subset}}_combined_{{samples}}_metadata.json",
    log:
        "logs/retrieval/{dataset}/05_combine/seed_{seed}/{side}retrieval_top{k}{subset}_combined_{samples}.log",
    conda:
        "../envs/core.yaml"
    params:
        combine=lambda wc: tracked(
            DATASETS[wc.dataset],
            "data_root",
            "negative_pool",
            "relative",
            "stratified",
            k=int(wc.k),
            num_samples=None if wc.samples == "all" else int(wc.samples),
            seed=int(wc.seed),
        ),
        categories=lambda wc: list(categories(wc.dataset).values()),
        algorithm=1,
    script:
        "../workflow_scripts/retrieval/combine.py"
