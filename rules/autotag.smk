# autotag: a tagged collection of web dataset shards to an index of its segments.
#
# in:  {source.dataset}/NNNNN.tar and .parquet, {source.tags}/NNNNN.json; weights of the segmenter and of CLIP
# out: {source_output}/embeddings/ with the segments of each shard, {index_dir}/04_index/ with the index and the tags of its rows

AUTOTAG = settings.autotag
AUTOTAG_SOURCE = AUTOTAG.source_output
AUTOTAG_INDEX = AUTOTAG.index_dir


wildcard_constraints:
    block=r"\d{4}",


rule autotag_00_vocabulary:
    """Take the most frequent tags of the source as the words to look for, once: a new shard does not change them."""
    output:
        f"{AUTOTAG_SOURCE}/vocabulary.txt",
    log:
        "logs/autotag/00_vocabulary.log",
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=4_000,
        runtime=lambda wc, attempt: 120 * attempt,
    params:
        source=lambda wc: tracked(AUTOTAG.source, "start_shard", "end_shard", **autotag_params.source_params(AUTOTAG)),
        # No reason to draw anew: a lambda that takes `threads` is not tracked.
        shards=lambda wc, threads: list(autotag_shards()),
        algorithm=1,
    script:
        "../workflow_scripts/autotag/vocabulary.py"


rule autotag_01_segment_embed_source:
    """Take the images of some shards apart and embed the parts, straight from the tars; a killed job goes on with its next shard."""
    input:
        segmenter=ancient(weights_card(autotag_params.segment_model(AUTOTAG))),
        model=ancient(model_card(AUTOTAG.clip)),
        words=lambda wc: autotag_words("source"),
    output:
        f"{AUTOTAG_SOURCE}/blocks/block_{{block}}.json",
    log:
        "logs/autotag/01_source/block_{block}.log",
    benchmark:
        "benchmarks/autotag/01_source/block_{block}.tsv"
    retries: 2
    conda:
        "../envs/segment.yaml"
    threads: 8
    resources:
        gpu=model_gpus(),
        mem_mb=lambda wc, attempt: 16_000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        # A shard that comes or changes reruns its block, which works on this shard alone.
        shards=lambda wc: autotag_blocks()[wc.block],
        source=autotag_params.source_params(AUTOTAG),
        segment=autotag_params.segmenting(AUTOTAG, "source"),
        segmenter=lambda wc: planned(autotag_params.segment_model, AUTOTAG),
        model=tracked(AUTOTAG.clip, "name", "pretrained", "sha256"),
        folder=lambda wc: AUTOTAG_SOURCE,
        max_pixels=settings.images.max_pixels,
        machine=lambda wc, threads: machine(threads, **autotag_params.batches(AUTOTAG)),
        algorithm=1,
    script:
        "../workflow_scripts/autotag/source.py"


rule autotag_02_train_index:
    """Train the index on a sample of the segments, and draw those that recall is measured with; both once."""
    input:
        # Trained once: neither another shard nor a shard made again trains anew.
        blocks=lambda wc: [ancient(f"{AUTOTAG_SOURCE}/blocks/block_{block}.json") for block in autotag_train_blocks()],
    output:
        index=f"{AUTOTAG_INDEX}/02_index/trained.faiss",
        metadata=f"{AUTOTAG_INDEX}/02_index/index_metadata.json",
        queries=f"{AUTOTAG_INDEX}/02_index/queries.parquet",
    log:
        "logs/autotag/02_train_index.log",
    benchmark:
        "benchmarks/autotag/02_train_index.tsv"
    conda:
        "../envs/index.yaml"
    threads: 16
    resources:
        mem_mb=lambda wc, attempt: autotag_memory(3 * AUTOTAG.faiss.train_memory_gb) * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        train=lambda wc: planned(autotag_params.training, AUTOTAG, settings.watch_sources),
        model=tracked(AUTOTAG.clip, "name", "pretrained", "sha256"),
        folder=lambda wc: AUTOTAG_SOURCE,
        # How many segments to expect is judged by all shards there are, which is no reason to train anew.
        shards=lambda wc, threads: len(autotag_shards()),
        machine=lambda wc, threads: machine(threads),
        algorithm=1,
    script:
        "../workflow_scripts/autotag/train_index.py"


rule autotag_03_add_block:
    """Add the segments of a block to the trained index, and find the exact neighbours that recall is measured against."""
    input:
        index=f"{AUTOTAG_INDEX}/02_index/trained.faiss",
        queries=f"{AUTOTAG_INDEX}/02_index/queries.parquet",
        block=f"{AUTOTAG_SOURCE}/blocks/block_{{block}}.json",
    output:
        index=f"{AUTOTAG_INDEX}/03_blocks/block_{{block}}.faiss",
        exact=f"{AUTOTAG_INDEX}/03_blocks/block_{{block}}_exact.parquet",
    log:
        "logs/autotag/03_add_block/block_{block}.log",
    benchmark:
        "benchmarks/autotag/03_add_block/block_{block}.tsv"
    conda:
        "../envs/index.yaml"
    threads: 8
    resources:
        mem_mb=lambda wc, attempt: 16_000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        folder=lambda wc: AUTOTAG_SOURCE,
        machine=lambda wc, threads: machine(threads),
        algorithm=1,
    script:
        "../workflow_scripts/autotag/add_block.py"


rule autotag_04_merge_index:
    """Merge the blocks, or fail: none missing, none of another model; measure recall, and choose how far a search looks."""
    input:
        trained=f"{AUTOTAG_INDEX}/02_index/index_metadata.json",
        queries=f"{AUTOTAG_INDEX}/02_index/queries.parquet",
        blocks=lambda wc: [f"{AUTOTAG_SOURCE}/blocks/block_{block}.json" for block in autotag_blocks()],
        indexes=lambda wc: [f"{AUTOTAG_INDEX}/03_blocks/block_{block}.faiss" for block in autotag_blocks()],
        exact=lambda wc: [f"{AUTOTAG_INDEX}/03_blocks/block_{block}_exact.parquet" for block in autotag_blocks()],
    output:
        index=f"{AUTOTAG_INDEX}/04_index/index.faiss",
        rows=f"{AUTOTAG_INDEX}/04_index/id_to_tags.parquet",
        metadata=f"{AUTOTAG_INDEX}/04_index/index_metadata.json",
        recall=f"{AUTOTAG_INDEX}/04_index/recall.json",
    log:
        "logs/autotag/04_merge_index.log",
    benchmark:
        "benchmarks/autotag/04_merge_index.tsv"
    conda:
        "../envs/index.yaml"
    threads: 16
    resources:
        mem_mb=lambda wc, attempt: autotag_memory(2 * AUTOTAG.faiss.on_disk_gb) * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        search=autotag_params.measuring(AUTOTAG),
        folder=lambda wc: AUTOTAG_SOURCE,
        machine=lambda wc, threads: machine(threads, on_disk_gb=AUTOTAG.faiss.on_disk_gb),
        algorithm=1,
    script:
        "../workflow_scripts/autotag/merge_index.py"
