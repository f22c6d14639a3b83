# people: take images with people out of a set.
#
# in:  the source of each run (people.runs)
# out: {results_root}/{run}/05_merge/aggregate/ with the manifests of the whole run, 06_publish/receipt.parquet for its
#      cleaned copy
from workflow_scripts.people.manifests import AGGREGATE_FILES, SHARD_FILES, shard_name

PEOPLE = settings.people.results_root
PEOPLE_RUNS = settings.people.runs
SHARDS = {run.shard_count: [shard_name(number, run.shard_count) for number in range(run.shard_count)] for run in PEOPLE_RUNS.values()}


localrules:
    people_01_list,
    people_03_prompts,
    people_05_merge,
    people_06_publish,
    people_06_verify,
    people_06_removal_plan,


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
        listing=lambda wc: tracked(PEOPLE_RUNS[wc.run], "source", "shard_count", "max_images", "sample_seed"),
        fingerprint=lambda wc: source_fingerprint(PEOPLE_RUNS[wc.run].source),
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
        source=lambda wc: PEOPLE_RUNS[wc.run].source,
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


# Cheap steps take all shards of a run in one job. Outputs have to be known by name, so there is a rule for each number of
# shards that a run has.
for count in SHARDS:

    rule:
        """Compare the embeddings with the prompts: margin and people_prob, no decision."""
        name:
            f"people_03_score_{count}"
        input:
            embeddings=expand(f"{PEOPLE}/{{{{run}}}}/02_embed/{{shard}}.parquet", shard=SHARDS[count]),
            prompts=f"{PEOPLE}/{{run}}/03_score/prompts.json",
        output:
            expand(f"{PEOPLE}/{{{{run}}}}/03_score/{{shard}}.parquet", shard=SHARDS[count]),
        log:
            "logs/people/{run}/03_score.log",
        wildcard_constraints:
            run="|".join(re.escape(name) for name, run in PEOPLE_RUNS.items() if run.shard_count == count),
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
            f"people_04_decide_{count}"
        input:
            listing=f"{PEOPLE}/{{run}}/01_list/objects.parquet",
            scores=expand(f"{PEOPLE}/{{{{run}}}}/03_score/{{shard}}.parquet", shard=SHARDS[count]),
            model=lambda wc: ancient(model_card(PEOPLE_RUNS[wc.run].model)),
            reviews=lambda wc: reviews("people", wc.run, "decide"),
            exclude=lambda wc: [entry.csv for entry in PEOPLE_RUNS[wc.run].exclude],
        output:
            expand(
                f"{PEOPLE}/{{{{run}}}}/04_decide/{{shard}}/{{file}}",
                shard=SHARDS[count],
                file=SHARD_FILES,
            ),
        log:
            "logs/people/{run}/04_decide.log",
        wildcard_constraints:
            run="|".join(re.escape(name) for name, run in PEOPLE_RUNS.items() if run.shard_count == count),
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
            ),
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
            shard=SHARDS[PEOPLE_RUNS[wc.run].shard_count],
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


rule people_06_publish:
    """Copy the kept images, then the manifests; the receipt stands for a complete copy."""
    input:
        merged=expand(f"{PEOPLE}/{{{{run}}}}/05_merge/aggregate/{{file}}", file=AGGREGATE_FILES),
    output:
        f"{PEOPLE}/{{run}}/06_publish/receipt.parquet",
    log:
        "logs/people/{run}/06_publish.log",
    benchmark:
        "benchmarks/people/{run}/06_publish.tsv"
    retries: 2
    conda:
        "../envs/core.yaml"
    params:
        run=lambda wc: tracked(
            PEOPLE_RUNS[wc.run],
            "source",
            "destination",
            "manifests",
            "shard_count",
            "dry_run",
            "prune",
            "prune_max_fraction",
            "allow_copy_errors",
            run_id=wc.run,
        ),
        shards=f"{PEOPLE}/{{run}}/04_decide",
        machine=lambda wc, threads: {
            "batch_size": PEOPLE_RUNS[wc.run].batch_size,
            "threads": threads,
        },
        algorithm=1,
    script:
        "../workflow_scripts/people/publish.py"


rule people_06_verify:
    """Compare the destination with the receipt."""
    input:
        receipt=f"{PEOPLE}/{{run}}/06_publish/receipt.parquet",
    output:
        f"{PEOPLE}/{{run}}/06_publish/verification.json",
    log:
        "logs/people/{run}/06_verify.log",
    conda:
        "../envs/core.yaml"
    params:
        run=lambda wc: tracked(PEOPLE_RUNS[wc.run], "destination", "manifests"),
        fingerprint=lambda wc: [
            destination_fingerprint(place)
            for place in (
                PEOPLE_RUNS[wc.run].destination,
                PEOPLE_RUNS[wc.run].manifests,
            )
        ],
        algorithm=1,
    script:
        "../workflow_scripts/people/verify.py"


rule people_06_removal_plan:
    """Write the removed keys with their sizes, and a script that deletes them; nothing is deleted here."""
    input:
        removed=f"{PEOPLE}/{{run}}/05_merge/aggregate/removed_all.csv",
    output:
        plan=f"{PEOPLE}/{{run}}/06_removal_plan/plan.csv",
        key_list=f"{PEOPLE}/{{run}}/06_removal_plan/keys.nul",
        command=f"{PEOPLE}/{{run}}/06_removal_plan/delete.sh",
    log:
        "logs/people/{run}/06_removal_plan.log",
    conda:
        "../envs/core.yaml"
    params:
        source=lambda wc: PEOPLE_RUNS[wc.run].source,
        algorithm=1,
    script:
        "../workflow_scripts/people/removal_plan.py"
