# demo: drawn data with known truth, and how well the pipelines did on it. No pipeline depends on it.
#
# in:  nothing
# out: {demo.root}/people/ with images/, truth.csv and labels.csv, retrieval/ with images/ and truth.csv;
#      predict/ with projects.tsv, archives and truth.csv; lora/ with source_videos/, 00_background_library/ and truth.csv;
#      autotag/ with source/, tags/, targets/ and truth.csv; {demo.results_root}/{pipeline}.txt

DEMO_RESULTS = settings.demo.results_root


localrules:
    demo,
    demo_data,
    demo_01_people_data,
    demo_01_retrieval_data,
    demo_01_predict_data,
    demo_01_lora_data,
    demo_01_autotag_data,
    demo_03_people_summary,
    demo_03_retrieval_summary,
    demo_03_predict_summary,
    demo_03_lora_summary,
    demo_03_autotag_summary,


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


rule demo_01_predict_data:
    """Draw groups in which the later stage is better, unless it has a defect; with copies, and files damaged on purpose."""
    output:
        truth=f"{settings.demo.root}/predict/truth.csv",
    log:
        "logs/demo/01_predict_data.log",
    conda:
        "../envs/core.yaml"
    params:
        groups=settings.demo.predict.groups,
        seed=settings.demo.seed,
        algorithm=1,
    script:
        "../workflow_scripts/demo/predict_data.py"


rule demo_01_lora_data:
    """Draw videos of figures near, far, from behind, cut off, blurred and absent, one turned and one broken off; and backgrounds."""
    output:
        truth=f"{settings.demo.root}/lora/truth.csv",
    log:
        "logs/demo/01_lora_data.log",
    conda:
        "../envs/video.yaml"
    params:
        backgrounds=settings.demo.lora.backgrounds,
        seed=settings.demo.seed,
        algorithm=1,
    script:
        "../workflow_scripts/demo/lora_data.py"


rule demo_01_autotag_data:
    """Draw tagged shards, one of them broken off, and folders to tag; with copies, and samples and files that are wrong on purpose."""
    output:
        truth=f"{settings.demo.root}/autotag/truth.csv",
    log:
        "logs/demo/01_autotag_data.log",
    conda:
        "../envs/segment.yaml"
    params:
        images=settings.demo.autotag.images,
        shards=settings.demo.autotag.shards,
        targets=settings.demo.autotag.targets,
        seed=settings.demo.seed,
        algorithm=1,
    script:
        "../workflow_scripts/demo/autotag_data.py"


rule demo_03_people_summary:
    """Compare the people results with the truth."""
    input:
        truth=f"{settings.demo.root}/people/truth.csv",
        merged=f"{PEOPLE}/demo/05_merge/aggregate/merge_metadata.json",
        receipt=f"{PEOPLE}/demo/06_publish/receipt.parquet",
        steps=lambda wc: people_files("07_report", runs=["demo"]),
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
        results=lambda wc: [
            f"{RETRIEVAL}/demo/{result}" for result in retrieval_params.results("demo", DATASETS["demo"], categories("demo"))
        ],
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


rule demo_03_predict_summary:
    """Compare the selections and crops with the truth."""
    input:
        truth=f"{settings.demo.root}/predict/truth.csv",
        groups=lambda wc: expand(f"{PREDICT}/03_predict/{{project}}.parquet", project=project_names()),
        images=lambda wc: expand(f"{PREDICT}/03_predict/images/{{project}}.parquet", project=project_names()),
        summary=f"{PREDICT}/batch_predictions_summary.json",
        results=lambda wc: predict_params.results(PREDICT, project_names()),
    output:
        f"{DEMO_RESULTS}/predict.txt",
    log:
        "logs/demo/03_predict_summary.log",
    conda:
        "../envs/core.yaml"
    params:
        logs=lambda wc: expand("logs/predict/{project}/02_embed.log", project=project_names()),
        places=lambda wc: predict_params.places(PREDICT, project_names()),
        algorithm=1,
    script:
        "../workflow_scripts/demo/predict_summary.py"


rule demo_03_lora_summary:
    """Compare categories, masks, choices and pairs with the truth."""
    input:
        truth=f"{settings.demo.root}/lora/truth.csv",
        frames=lambda wc: lora_tables("01_source_frames", "demo"),
        sorted=lambda wc: lora_tables("02_sorted_candidates", "demo"),
        masks=lambda wc: lora_tables("03_masked_subjects", "demo"),
        selection=f"{LORA}/demo/04_top100_staging/manifest.parquet",
        composites=f"{LORA}/demo/05_training_data/manifest.parquet",
        captions=f"{LORA}/demo/06_caption/manifest.parquet",
        exported=f"{LORA}/demo/07_export/manifest.parquet",
        results=lambda wc: expand(f"{LORA}/demo/{{result}}", result=lora_params.results(list(videos("demo")))),
    output:
        f"{DEMO_RESULTS}/lora.txt",
    log:
        "logs/demo/03_lora_summary.log",
    conda:
        "../envs/video.yaml"
    params:
        seed=settings.demo.seed,
        logs=lambda wc: lora_params.logs(list(videos("demo")), "logs/lora/demo"),
        places=lora_params.places(f"{LORA}/demo"),
        algorithm=1,
    script:
        "../workflow_scripts/demo/lora_summary.py"


rule demo_03_autotag_summary:
    """Compare tags, and what became of samples and files, with the truth."""
    input:
        truth=f"{settings.demo.root}/autotag/truth.csv",
        blocks=lambda wc: autotag_source_files(),
        index=f"{AUTOTAG_INDEX}/04_index/index_metadata.json",
        recall=f"{AUTOTAG_INDEX}/04_index/recall.json",
        images=lambda wc: expand(f"{AUTOTAG_TARGETS}/{{target}}/segmentation/images.parquet", target=autotag_targets()),
        candidates=lambda wc: expand(f"{AUTOTAG_TARGETS}/{{target}}/candidates.parquet", target=autotag_targets()),
        tags=lambda wc: expand(f"{AUTOTAG_TARGETS}/{{target}}/tags.parquet", target=autotag_targets()),
        results=lambda wc: autotag_index_files() + autotag_target_files(""),
    output:
        f"{DEMO_RESULTS}/autotag.txt",
    log:
        "logs/demo/03_autotag_summary.log",
    conda:
        "../envs/segment.yaml"
    params:
        logs=lambda wc: expand("logs/autotag/01_source/block_{block}.log", block=autotag_blocks()),
        source=lambda wc: AUTOTAG.source.dataset,
        targets=lambda wc: list(autotag_targets()),
        places=lambda wc: autotag_params.places(AUTOTAG_TARGETS, AUTOTAG_INDEX, list(autotag_targets())),
        algorithm=1,
    script:
        "../workflow_scripts/demo/autotag_summary.py"


rule demo:
    """The demo: every pipeline on drawn data, and how well it did. Draw the data first: snakemake demo_data."""
    input:
        expand(f"{DEMO_RESULTS}/{{pipeline}}.txt", pipeline=["people", "retrieval", "predict", "lora", "autotag"]),


rule demo_data:
    """Draw the sample data of the demo."""
    input:
        expand(f"{settings.demo.root}/{{pipeline}}/truth.csv", pipeline=["people", "retrieval", "predict", "lora", "autotag"]),
