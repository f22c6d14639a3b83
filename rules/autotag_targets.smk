# autotag: folders of images to tags, by the neighbours of their segments.
#
# in:  the folders to tag; {index_dir}/04_index/; what people decided (reviews)
# out: {target_output}/{folder}/ with the segments, neighbours and tags of its images, and a page to judge them by

AUTOTAG_TARGETS = AUTOTAG.target_output


localrules:
    autotag_08_vote,
    autotag_09_report,
    segment_source,
    embed_source,
    build_index,
    segment_target,
    embed_target,
    tag_target,
    process_target,


wildcard_constraints:
    folder=r"[A-Za-z0-9._-]+",


rule autotag_05_segment_target:
    """Take the images of a folder apart and keep the parts; an image without a segment is one as a whole."""
    input:
        segmenter=ancient(weights_card(autotag_params.segment_model(AUTOTAG))),
        words=lambda wc: autotag_words("target"),
        tags=lambda wc: autotag_target_tags(wc.folder),
    output:
        images=f"{AUTOTAG_TARGETS}/{{folder}}/segmentation/images.parquet",
        segments=f"{AUTOTAG_TARGETS}/{{folder}}/segmentation/segments.parquet",
        metadata=f"{AUTOTAG_TARGETS}/{{folder}}/segmentation/metadata.json",
    log:
        "logs/autotag/{folder}/05_segment_target.log",
    benchmark:
        "benchmarks/autotag/{folder}/05_segment_target.tsv"
    retries: 2
    conda:
        "../envs/segment.yaml"
    threads: 8
    resources:
        gpu=model_gpus(),
        mem_mb=lambda wc, attempt: 16_000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        path=lambda wc: autotag_targets()[wc.folder],
        fingerprint=lambda wc: source_fingerprint(autotag_targets()[wc.folder]),
        segment=autotag_params.segmenting(AUTOTAG, "target"),
        segmenter=lambda wc: planned(autotag_params.segment_model, AUTOTAG),
        max_pixels=settings.images.max_pixels,
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root, **autotag_params.batches(AUTOTAG)),
        algorithm=1,
    script:
        "../workflow_scripts/autotag/segment_target.py"


rule autotag_06_embed_target:
    """Embed the saved parts of a folder's images, as far as the cache does not know them."""
    input:
        segments=f"{AUTOTAG_TARGETS}/{{folder}}/segmentation/segments.parquet",
        model=ancient(model_card(AUTOTAG.clip)),
    output:
        vectors=f"{AUTOTAG_TARGETS}/{{folder}}/embeddings/embeddings_00000.npy",
        table=f"{AUTOTAG_TARGETS}/{{folder}}/embeddings/metadata_00000.parquet",
        metadata=f"{AUTOTAG_TARGETS}/{{folder}}/embeddings/metadata_00000.json",
        errors=f"{AUTOTAG_TARGETS}/{{folder}}/embeddings/errors.parquet",
    log:
        "logs/autotag/{folder}/06_embed_target.log",
    benchmark:
        "benchmarks/autotag/{folder}/06_embed_target.tsv"
    retries: 2
    conda:
        "../envs/clip.yaml"
    threads: 8
    resources:
        gpu=model_gpus(),
        mem_mb=lambda wc, attempt: 8_000 * attempt,
        runtime=lambda wc, attempt: 60 * attempt,
    params:
        model=tracked(AUTOTAG.clip, "name", "pretrained", "sha256"),
        max_pixels=settings.images.max_pixels,
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root, **autotag_params.batches(AUTOTAG)),
        algorithm=1,
    script:
        "../workflow_scripts/autotag/embed_target.py"


rule autotag_07_search_target:
    """Find the nearest segments of the source for every part of a folder's images; an index of another model is refused."""
    input:
        vectors=f"{AUTOTAG_TARGETS}/{{folder}}/embeddings/embeddings_00000.npy",
        table=f"{AUTOTAG_TARGETS}/{{folder}}/embeddings/metadata_00000.parquet",
        index=f"{AUTOTAG_INDEX}/04_index/index.faiss",
        rows=f"{AUTOTAG_INDEX}/04_index/id_to_tags.parquet",
        metadata=f"{AUTOTAG_INDEX}/04_index/index_metadata.json",
    output:
        f"{AUTOTAG_TARGETS}/{{folder}}/neighbours.parquet",
    log:
        "logs/autotag/{folder}/07_search_target.log",
    benchmark:
        "benchmarks/autotag/{folder}/07_search_target.tsv"
    retries: 1
    conda:
        "../envs/index.yaml"
    threads: 8
    resources:
        gpu=0 if AUTOTAG.faiss.gpu == "cpu" else model_gpus(),
        mem_mb=lambda wc, attempt: 16_000 * attempt,
        runtime=lambda wc, attempt: 120 * attempt,
    params:
        search=autotag_params.searching(AUTOTAG),
        folder=lambda wc: AUTOTAG_SOURCE,
        machine=lambda wc, threads: machine(threads, batch=AUTOTAG.faiss.batch, gpu=AUTOTAG.faiss.gpu),
        algorithm=1,
    script:
        "../workflow_scripts/autotag/search_target.py"


rule autotag_08_vote:
    """Tag the images of a folder by what their neighbours vote for, and by what people decided."""
    input:
        images=f"{AUTOTAG_TARGETS}/{{folder}}/segmentation/images.parquet",
        crops=f"{AUTOTAG_TARGETS}/{{folder}}/embeddings/metadata_00000.parquet",
        neighbours=f"{AUTOTAG_TARGETS}/{{folder}}/neighbours.parquet",
        index=f"{AUTOTAG_INDEX}/04_index/index_metadata.json",
        reviews=lambda wc: reviews("autotag", wc.folder, "vote"),
        exclude=[entry.csv for entry in AUTOTAG.exclude],
    output:
        candidates=f"{AUTOTAG_TARGETS}/{{folder}}/candidates.parquet",
        table=f"{AUTOTAG_TARGETS}/{{folder}}/tags.parquet",
        tags=f"{AUTOTAG_TARGETS}/{{folder}}/tags.json",
    log:
        "logs/autotag/{folder}/08_vote.log",
    benchmark:
        "benchmarks/autotag/{folder}/08_vote.tsv"
    conda:
        "../envs/core.yaml"
    params:
        vote=autotag_params.voting(AUTOTAG),
        algorithm=1,
    script:
        "../workflow_scripts/autotag/vote.py"


rule autotag_09_report:
    """A page with every image of a folder, its tags, and the neighbours that voted for them."""
    input:
        images=f"{AUTOTAG_TARGETS}/{{folder}}/segmentation/images.parquet",
        crops=f"{AUTOTAG_TARGETS}/{{folder}}/embeddings/metadata_00000.parquet",
        candidates=f"{AUTOTAG_TARGETS}/{{folder}}/candidates.parquet",
        index=f"{AUTOTAG_INDEX}/04_index/index_metadata.json",
        recall=f"{AUTOTAG_INDEX}/04_index/recall.json",
        reviews=lambda wc: reviews("autotag", wc.folder, "vote"),
    output:
        report(
            directory(f"{AUTOTAG_TARGETS}/{{folder}}/report"),
            htmlindex="index.html",
            category="autotag",
            labels={"folder": "{folder}"},
        ),
    log:
        "logs/autotag/{folder}/09_report.log",
    conda:
        "../envs/core.yaml"
    params:
        page=lambda wc: {
            "folder": wc.folder,
            "path": autotag_targets()[wc.folder],
            "reviews": review_path("autotag", wc.folder, "vote"),
            "vote": autotag_params.voting(AUTOTAG),
        },
        source=autotag_params.source_params(AUTOTAG),
        folder=lambda wc: AUTOTAG_SOURCE,
        max_pixels=settings.images.max_pixels,
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/autotag/report.py"


rule segment_source:
    """Take all shards of the source apart and embed the parts."""
    input:
        lambda wc: autotag_source_files(),


rule embed_source:
    """The same as segment_source: both happen in one pass."""
    input:
        lambda wc: autotag_source_files(),


rule build_index:
    """The index of the source's segments, with its recall."""
    input:
        lambda wc: autotag_index_files(),


rule segment_target:
    """Take the images of all chosen folders apart."""
    input:
        lambda wc: autotag_target_files("segmentation/"),


rule embed_target:
    """Embed the parts of all chosen folders."""
    input:
        lambda wc: autotag_target_files("segmentation/", "embeddings/"),


rule tag_target:
    """Tag all chosen folders."""
    input:
        lambda wc: autotag_target_files("segmentation/", "embeddings/", "neighbours", "candidates", "tags"),


rule process_target:
    """Tag all chosen folders, with a page to judge each by."""
    input:
        lambda wc: autotag_target_files(""),
