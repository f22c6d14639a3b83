# people: publish, verify, and work in shards on machines without a shared disk.
#
# in:  {results_root}/{run}/04_decide/ and 05_merge/
# out: {results_root}/{run}/06_publish/receipt.parquet for the cleaned copy at its destination


localrules:
    people_06_publish,
    people_06_publish_shard,
    people_06_publish_listing,
    people_06_merge_remote,
    people_06_verify,
    people_06_removal_plan,
    people_verify,
    people_removal_plan,
    people_listing,
    people_shard,
    people_merge_remote,


rule people_06_publish:
    """Copy the kept images, then the manifests; the receipt stands for a complete copy."""
    input:
        shards=lambda wc: expand(f"{PEOPLE}/{wc.run}/04_decide/{{shard}}/{{file}}", shard=SHARDS[wc.run], file=SHARD_FILES),
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
        run=lambda wc: people_params.publish(wc.run, PEOPLE_RUNS[wc.run], SHARD_NUMBERS[wc.run]),
        machine=lambda wc, threads: machine(threads, batch_size=PEOPLE_RUNS[wc.run].batch_size),
        algorithm=2,
    script:
        "../workflow_scripts/people/publish.py"


rule people_06_publish_shard:
    """Copy the kept images of one shard, then its manifests, from a machine that has no other shards."""
    input:
        shards=expand(f"{PEOPLE}/{{{{run}}}}/04_decide/shard-{{{{shard}}}}-of-{{{{shard_count}}}}/{{file}}", file=SHARD_FILES),
    output:
        f"{PEOPLE}/{{run}}/06_publish/shard-{{shard}}-of-{{shard_count}}/receipt.parquet",
    log:
        "logs/people/{run}/06_publish/shard-{shard}-of-{shard_count}.log",
    retries: 2
    conda:
        "../envs/core.yaml"
    params:
        run=lambda wc: people_params.publish(wc.run, PEOPLE_RUNS[wc.run], [int(wc.shard)]),
        machine=lambda wc, threads: machine(threads, batch_size=PEOPLE_RUNS[wc.run].batch_size),
        algorithm=2,
    script:
        "../workflow_scripts/people/publish.py"


rule people_06_publish_listing:
    """Put the listing beside the manifests, for machines with published_listing: true."""
    input:
        f"{PEOPLE}/{{run}}/01_list/objects.parquet",
    output:
        f"{PEOPLE}/{{run}}/06_publish/listing.json",
    log:
        "logs/people/{run}/06_publish_listing.log",
    conda:
        "../envs/core.yaml"
    params:
        run=lambda wc: people_params.shared_listing(wc.run, PEOPLE_RUNS[wc.run]),
        algorithm=1,
    script:
        "../workflow_scripts/people/share_listing.py"


rule people_06_merge_remote:
    """Merge the shards that other machines published, and publish the aggregate; done anew whenever it is asked for."""
    output:
        expand(f"{PEOPLE}/{{{{run}}}}/06_merge_remote/aggregate/{{file}}", file=AGGREGATE_FILES),
    log:
        "logs/people/{run}/06_merge_remote.log",
    conda:
        "../envs/core.yaml"
    params:
        run=lambda wc: people_params.publish(wc.run, PEOPLE_RUNS[wc.run], SHARD_NUMBERS[wc.run]),
        asked=lambda wc: time.time_ns(),
        machine=lambda wc, threads: machine(threads, batch_size=PEOPLE_RUNS[wc.run].batch_size),
        algorithm=1,
    script:
        "../workflow_scripts/people/merge_remote.py"


rule people_06_verify:
    """Compare the destination with the receipts."""
    input:
        receipts=lambda wc: people_params.receipts(f"{PEOPLE}/{wc.run}", PEOPLE_RUNS[wc.run], SHARDS[wc.run]),
    output:
        f"{PEOPLE}/{{run}}/06_publish/verification.json",
    log:
        "logs/people/{run}/06_verify.log",
    conda:
        "../envs/core.yaml"
    params:
        run=lambda wc: tracked(PEOPLE_RUNS[wc.run], "destination", "manifests", store=people_params.store(PEOPLE_RUNS[wc.run])),
        fingerprint=lambda wc: [
            destination_fingerprint(place)
            for place in (
                PEOPLE_RUNS[wc.run].destination,
                PEOPLE_RUNS[wc.run].manifests,
            )
        ],
        algorithm=2,
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
        run=lambda wc: tracked(PEOPLE_RUNS[wc.run], "source", store=people_params.store(PEOPLE_RUNS[wc.run])),
        algorithm=2,
    script:
        "../workflow_scripts/people/removal_plan.py"


rule people_verify:
    """Compare the destinations of all people runs with their receipts."""
    input:
        lambda wc: expand(f"{PEOPLE}/{{run}}/06_publish/verification.json", run=named("people.runs", PEOPLE_RUNS)),


rule people_removal_plan:
    """Lists and scripts to delete the removed images from their sources; a person runs them, the workflow never does."""
    input:
        lambda wc: people_files("06_removal_plan/plan.csv"),


rule people_listing:
    """List once for many machines: the listings of all people runs, published beside their manifests."""
    input:
        lambda wc: [
            f"{PEOPLE}/{run}/06_publish/listing.json"
            for run in named("people.runs", PEOPLE_RUNS)
            if allowed(people_params.check_in_bucket, run, PEOPLE_RUNS[run])
        ],


rule people_shard:
    """The work of one machine without a shared disk: its shards, from the listing to the published copy."""
    input:
        lambda wc: [
            f"{PEOPLE}/{run}/06_publish/{shard}/receipt.parquet"
            for run in named("people.runs", PEOPLE_RUNS)
            if allowed(people_params.check_in_bucket, run, PEOPLE_RUNS[run])
            for shard in SHARDS[run]
        ],
        lambda wc: people_files(merged=False),


rule people_merge_remote:
    """The aggregates of all people runs, from the shards that machines without a shared disk published."""
    input:
        lambda wc: [
            f"{PEOPLE}/{run}/06_merge_remote/aggregate/merge_metadata.json"
            for run in named("people.runs", PEOPLE_RUNS)
            if allowed(people_params.check_in_bucket, run, PEOPLE_RUNS[run])
        ],
