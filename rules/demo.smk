# demo: drawn data with known truth, the small models trained on it, and how well the pipelines did. No pipeline depends on it.
#
# in:  nothing
# out: {demo.root}/people/ with images/, truth.csv and labels.csv, retrieval/ with images/ and truth.csv;
#      {demo.results_root}/people.txt and retrieval.txt; models/, to be copied over resources/demo/ by hand

DEMO_RESULTS = settings.demo.results_root


localrules:
    demo_01_people_data,
    demo_01_retrieval_data,
    demo_02_clip,
    demo_03_people_summary,
    demo_03_retrieval_summary,


rule demo_01_people_data:
    """Draw scenes with and without people, some of them damaged or oddly named on purpose."""
    output:
        truth=f"{settings.demo.root}/people/truth.csv",
        labels=f"{settings.demo.root}/people/labels.csv",
    log:
        "logs/demo/01_people_data.log",
    conda:
        "../envs/core.yaml"
    params:
        images=settings.demo.people.images,
        seed=settings.demo.seed,
        algorithm=2,
    script:
        "../workflow_scripts/demo/people_data.py"


rule demo_01_retrieval_data:
    """Draw folders of things, some of which look alike; with copies, and files that are damaged, misplaced or oddly named on purpose."""
    output:
        truth=f"{settings.demo.root}/retrieval/truth.csv",
    log:
        "logs/demo/01_retrieval_data.log",
    conda:
        "../envs/core.yaml"
    params:
        images=settings.demo.retrieval.images,
        seed=settings.demo.seed,
        algorithm=1,
    script:
        "../workflow_scripts/demo/retrieval_data.py"


rule demo_02_clip:
    """Train the small CLIP of the demo on drawings, about six minutes on two cores; the committed one was made so."""
    output:
        weights=f"{DEMO_RESULTS}/models/clip/open_clip_model.safetensors",
        config=f"{DEMO_RESULTS}/models/clip/open_clip_config.json",
        metrics=f"{DEMO_RESULTS}/models/clip/metrics.json",
    log:
        "logs/demo/02_clip.log",
    conda:
        "../envs/clip.yaml"
    threads: 2
    params:
        seed=settings.demo.seed,
        algorithm=1,
    script:
        "../workflow_scripts/demo/train_clip.py"


rule demo_03_people_summary:
    """Compare the people results with the truth."""
    input:
        truth=f"{settings.demo.root}/people/truth.csv",
        merged=f"{PEOPLE}/demo/05_merge/aggregate/merge_metadata.json",
        receipt=f"{PEOPLE}/demo/06_publish/receipt.parquet",
        report=f"{PEOPLE}/demo/07_report",
    output:
        f"{DEMO_RESULTS}/people.txt",
    log:
        "logs/demo/03_people_summary.log",
    conda:
        "../envs/core.yaml"
    params:
        logs="logs/people/demo/02_embed",
        people=lambda wc: tracked(PEOPLE_RUNS["demo"], "source", "destination", "manifests"),
        algorithm=1,
    script:
        "../workflow_scripts/demo/people_summary.py"


rule demo_03_retrieval_summary:
    """Compare the comparisons with the truth."""
    input:
        truth=f"{settings.demo.root}/retrieval/truth.csv",
        records=lambda wc: f"{RETRIEVAL}/demo/{retrieval_params.combined(DATASETS['demo'], 23, 3)}",
        metadata=lambda wc: expand(
            f"{RETRIEVAL}/demo/04_retrieve/{{category}}/seed_23/retrieval_top3_metadata.json", category=categories("demo")
        ),
        splits=f"{RETRIEVAL}/demo/02_splits/seed_23/train_val_combined_metadata_seed_23.json",
        images=f"{RETRIEVAL}/demo/01_catalog/images.parquet",
        results=lambda wc: [f"{RETRIEVAL}/demo/{result}" for result in retrieval_params.results("demo", DATASETS["demo"])],
    output:
        f"{DEMO_RESULTS}/retrieval.txt",
    log:
        "logs/demo/03_retrieval_summary.log",
    conda:
        "../envs/core.yaml"
    params:
        source=lambda wc: DATASETS["demo"].data_root,
        places=lambda wc: retrieval_params.places("demo", DATASETS["demo"], RETRIEVAL),
        algorithm=1,
    script:
        "../workflow_scripts/demo/retrieval_summary.py"
