# people: take images with people out of a set.
#
# in:  the source of each run (people.runs)
# out: {results_root}/{run}/05_merge/aggregate/ with the manifests of the whole run, 06_publish/receipt.parquet for its
#      cleaned copy
from workflow_scripts.people import params as people_params
from workflow_scripts.people.manifests import AGGREGATE_FILES, SHARD_FILES, shard_name

PEOPLE = settings.people.results_root
PEOPLE_RUNS = settings.people.runs
# The shards that each run works on here: all, or those of this machine.
SHARD_NUMBERS = {name: tuple(sorted(run.shards or range(run.shard_count))) for name, run in PEOPLE_RUNS.items()}
SHARDS = {name: [shard_name(number, PEOPLE_RUNS[name].shard_count) for number in numbers] for name, numbers in SHARD_NUMBERS.items()}


localrules:
    people_01_list,
    people_03_prompts,
    people_05_merge,


wildcard_constraints:
    run="|".join(map(re.escape, PEOPLE_RUNS)) or "none",
    shard=r"\d{4}",
    shard_count=r"\d{4}",


rule people_01_list:
    """List the source; every file gets a shard and is scanned, skipped by its extension, or not sampled."""
    output:
        f"{PEOPLE}/{{run}}/01_list/objects.parquet",
    log:
        "logs/people/{run}/01_list.log",
    benchmark:
        "benchmarks/people/{run}/01_list.tsv"
    conda:
        "../envs/core.yaml"
    params:
        listing=lambda wc: people_params.listing(PEOPLE_RUNS[wc.run]),
        published=lambda wc: (people_params.shared_listing(wc.run, PEOPLE_RUNS[wc.run]) if PEOPLE_RUNS[wc.run].published_listing else None),
        shards=lambda wc: list(SHARD_NUMBERS[wc.run]),
        fingerprint=lambda wc: source_fingerprint(PEOPLE_RUNS[wc.run].source),
        machine=lambda wc, threads: machine(threads, written=people_params.written(PEOPLE_RUNS[wc.run])),
        algorithm=1,
    script:
        "../workflow_scripts/people/list_objects.py"


rule people_02_embed:
    """Embed the images of a shard with CLIP; unreadable ones become error rows."""
    input:
        listing=f"{PEOPLE}/{{run}}/01_list/objects.parquet",
        model=lambda wc: ancient(model_card(PEOPLE_RUNS[wc.run].model)),
    output:
        f"{PEOPLE}/{{run}}/02_embed/shard-{{shard}}-of-{{shard_count}}.parquet",
    log:
        "logs/people/{run}/02_embed/shard-{shard}-of-{shard_count}.log",
    benchmark:
        "benchmarks/people/{run}/02_embed/shard-{shard}-of-{shard_count}.tsv"
    retries: 2
    conda:
        "../envs/clip.yaml"
    threads: 8
    resources:
        gpu=model_gpus(),
        mem_mb=lambda wc, attempt: 8_000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        embedding=lambda wc: sort_keys(
            {
                "views": PEOPLE_RUNS[wc.run].views,
                "decode_mode": settings.images.decode,
                "max_pixels": settings.images.max_pixels,
            }
        ),
        model=lambda wc: tracked(PEOPLE_RUNS[wc.run].model, "name", "pretrained", "sha256"),
        source=lambda wc: tracked(PEOPLE_RUNS[wc.run], "source", store=people_params.store(PEOPLE_RUNS[wc.run])),
        machine=lambda wc, threads: machine(
            threads,
            batch=PEOPLE_RUNS[wc.run].batch_size,
            cache_root=settings.cache_root,
        ),
        algorithm=1,
    script:
        "../workflow_scripts/people/embed.py"


rule people_03_prompts:
    """Embed the prompts, so that scoring needs no model."""
    input:
        model=lambda wc: ancient(model_card(PEOPLE_RUNS[wc.run].model)),
    output:
        f"{PEOPLE}/{{run}}/03_score/prompts.json",
    log:
        "logs/people/{run}/03_prompts.log",
    conda:
        "../envs/clip.yaml"
    threads: 2
    resources:
        mem_mb=8_000,
    params:
        prompts=lambda wc: tracked(PEOPLE_RUNS[wc.run].prompts, "positive", "negative"),
        model=lambda wc: tracked(PEOPLE_RUNS[wc.run].model, "name", "pretrained", "sha256"),
        algorithm=1,
    script:
        "../workflow_scripts/people/embed_prompts.py"


# Cheap steps take all shards of a run in one job. Outputs have to be known by name, so there is a rule for each set of
# shards that a run has.
for number, shards in enumerate(sorted({tuple(names) for names in SHARDS.values()})):

    rule:
        """Compare the embeddings with the prompts: margin and people_prob, no decision."""
        name:
            f"people_03_score_{number}"
        input:
            embeddings=expand(f"{PEOPLE}/{{{{run}}}}/02_embed/{{shard}}.parquet", shard=shards),
            prompts=f"{PEOPLE}/{{run}}/03_score/prompts.json",
        output:
            expand(f"{PEOPLE}/{{{{run}}}}/03_score/{{shard}}.parquet", shard=shards),
        log:
            "logs/people/{run}/03_score.log",
        wildcard_constraints:
            run="|".join(re.escape(run) for run, names in SHARDS.items() if tuple(names) == shards),
        localrule: True
        conda:
            "../envs/core.yaml"
        params:
            scoring=lambda wc: tracked(PEOPLE_RUNS[wc.run], "negative_mode", "logit_scale"),
            algorithm=1,
        script:
            "../workflow_scripts/people/score.py"

    rule:
        """Remove what reaches the threshold or a person removed, keep the rest; writes the manifests of every shard."""
        name:
            f"people_04_decide_{number}"
        input:
            listing=f"{PEOPLE}/{{run}}/01_list/objects.parquet",
            scores=expand(f"{PEOPLE}/{{{{run}}}}/03_score/{{shard}}.parquet", shard=shards),
            model=lambda wc: ancient(model_card(PEOPLE_RUNS[wc.run].model)),
            reviews=lambda wc: reviews("people", wc.run, "decide"),
            exclude=lambda wc: [entry.csv for entry in PEOPLE_RUNS[wc.run].exclude],
        output:
            expand(
                f"{PEOPLE}/{{{{run}}}}/04_decide/{{shard}}/{{file}}",
                shard=shards,
                file=SHARD_FILES,
            ),
        log:
            "logs/people/{run}/04_decide.log",
        wildcard_constraints:
            run="|".join(re.escape(run) for run, names in SHARDS.items() if tuple(names) == shards),
        localrule: True
        conda:
            "../envs/core.yaml"
        params:
            run=lambda wc: tracked(
                PEOPLE_RUNS[wc.run],
                "source",
                "shard_count",
                "threshold",
                "max_images",
                "prompts",
                "exclude",
                run_id=wc.run,
                store=people_params.store(PEOPLE_RUNS[wc.run]),
            ),
            shards=lambda wc: list(SHARD_NUMBERS[wc.run]),
            folder=f"{PEOPLE}/{{run}}/04_decide",
            algorithm=1,
        script:
            "../workflow_scripts/people/decide.py"


rule people_05_merge:
    """Merge the manifests of all shards, or fail: no part missing, no key twice, no setting different."""
    input:
        listing=f"{PEOPLE}/{{run}}/01_list/objects.parquet",
        shards=lambda wc: expand(
            f"{PEOPLE}/{wc.run}/04_decide/{{shard}}/{{file}}",
            shard=allowed(people_params.check_whole, wc.run, PEOPLE_RUNS[wc.run]) and SHARDS[wc.run],
            file=SHARD_FILES,
        ),
    output:
        expand(f"{PEOPLE}/{{{{run}}}}/05_merge/aggregate/{{file}}", file=AGGREGATE_FILES),
    log:
        "logs/people/{run}/05_merge.log",
    conda:
        "../envs/core.yaml"
    params:
        merge=lambda wc: tracked(PEOPLE_RUNS[wc.run], "shard_count"),
        shards=f"{PEOPLE}/{{run}}/04_decide",
        algorithm=1,
    script:
        "../workflow_scripts/people/merge.py"
