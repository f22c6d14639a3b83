# lora: the chosen subjects on other backgrounds, with captions, in the forms that trainers read.
#
# in:  {results_root}/{workspace}/04_top100_staging/; {base_dir}/00_background_library/; what people decided, or moved out by hand
# out: {results_root}/{workspace}/05_training_data/ (pictures and texts side by side), 06_caption/, 07_export/


localrules:
    lora_05_composite,
    lora_06_caption,
    lora_07_export,


rule lora_05_composite:
    """Lay each chosen subject over a blurred background of the library."""
    input:
        selection=f"{LORA}/{{workspace}}/04_top100_staging/manifest.parquet",
        reviews=lambda wc: reviews("lora", wc.workspace, "04_select"),
    output:
        f"{LORA}/{{workspace}}/05_training_data/manifest.parquet",
    log:
        "logs/lora/{workspace}/05_composite.log",
    benchmark:
        "benchmarks/lora/{workspace}/05_composite.tsv"
    conda:
        "../envs/mask.yaml"
    threads: 8
    params:
        composite=lambda wc: sort_keys(WORKSPACES[wc.workspace].composite),
        # What people changed or took away since: nothing that the step reads here, but a reason to run it again.
        by_hand=lambda wc: planned(lora_by_hand.composites, Path(LORA, wc.workspace)),
        library=lambda wc: lora_params.library(WORKSPACES[wc.workspace]),
        backgrounds=lambda wc: source_fingerprint(lora_params.library(WORKSPACES[wc.workspace])),
        root=lambda wc: f"{LORA}/{wc.workspace}",
        max_pixels=settings.images.max_pixels,
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/lora/composite.py"


rule lora_06_caption:
    """Caption what is in the set and not captioned yet, where the network is."""
    input:
        composites=f"{LORA}/{{workspace}}/05_training_data/manifest.parquet",
        reviews=lambda wc: reviews("lora", wc.workspace, "05_composite"),
        words=lambda wc: lora_params.words(WORKSPACES[wc.workspace], workflow.basedir),
        model=lambda wc: (
            [ancient(model_card(WORKSPACES[wc.workspace].caption.clip_model))]
            if WORKSPACES[wc.workspace].caption.backend == "clip"
            else []
        ),
    output:
        f"{LORA}/{{workspace}}/06_caption/manifest.parquet",
    log:
        "logs/lora/{workspace}/06_caption.log",
    benchmark:
        "benchmarks/lora/{workspace}/06_caption.tsv"
    conda:
        "../envs/caption.yaml"
    threads: 8
    params:
        caption=lambda wc: planned(lora_params.caption, f"lora.workspaces.{wc.workspace}", WORKSPACES[wc.workspace]),
        # What people changed or took away since: nothing that the step reads here, but a reason to run it again.
        by_hand=lambda wc: planned(lora_by_hand.texts, Path(LORA, wc.workspace)),
        root=lambda wc: f"{LORA}/{wc.workspace}",
        store=f"{settings.lora.store_root}/{{workspace}}",
        max_pixels=settings.images.max_pixels,
        requests=lambda wc, threads: lora_params.requests(WORKSPACES[wc.workspace]),
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/lora/caption.py"


rule lora_07_export:
    """Hand the set over: folders for kohya's trainer, an image folder for Hugging Face datasets."""
    input:
        captions=f"{LORA}/{{workspace}}/06_caption/manifest.parquet",
        reviews=lambda wc: [*reviews("lora", wc.workspace, "05_composite"), *reviews("lora", wc.workspace, "06_caption")],
    output:
        manifest=f"{LORA}/{{workspace}}/07_export/manifest.parquet",
        buckets=f"{LORA}/{{workspace}}/07_export/buckets.csv",
    log:
        "logs/lora/{workspace}/07_export.log",
    benchmark:
        "benchmarks/lora/{workspace}/07_export.tsv"
    conda:
        "../envs/core.yaml"
    params:
        export=lambda wc: lora_params.export(wc.workspace, WORKSPACES[wc.workspace]),
        root=lambda wc: f"{LORA}/{wc.workspace}",
        algorithm=1,
    script:
        "../workflow_scripts/lora/export.py"
