# predict: zipped projects to the best image of each group, a crop of it, and a database a project.
#
# in:  the zips and folders of the table of projects (predict.projects); the checkpoints of the ranker and the crop proposer
# out: {results_root}/04_database/{project}.db beside its receipt, and the tables that it is made from

PREDICT = settings.predict.results_root
# A table that is not there yet hinders no other pipeline.
PROJECTS = (
    {name: project for name, project in projects().items() if not project.skip} if Path(settings.predict.projects or "").exists() else {}
)


localrules:
    predict_00_models,
    predict_01_inventory,
    predict_03_predict,
    predict_04_database,
    predict_05_validate,


wildcard_constraints:
    project="|".join(map(re.escape, PROJECTS)) or "none",


rule predict_00_models:
    """Check that the ranker and the crop proposer can be read, and fit the CLIP model."""
    input:
        model=ancient(model_card(settings.predict.model)),
    output:
        f"{PREDICT}/00_models/models.json",
    log:
        "logs/predict/00_models.log",
    conda:
        "../envs/clip.yaml"
    params:
        models=lambda wc: planned(predict_params.models, settings.predict),
        algorithm=1,
    script:
        "../workflow_scripts/predict/check_models.py"


rule predict_01_inventory:
    """List the images of a project by name; one that cannot be read is marked as failed, and stops no other."""
    input:
        # Not read here: a wrong checkpoint or a missing model ends the run before any work.
        models=ancient(f"{PREDICT}/00_models/models.json"),
    output:
        f"{PREDICT}/01_inventory/{{project}}.parquet",
    log:
        "logs/predict/{project}/01_inventory.log",
    benchmark:
        "benchmarks/predict/{project}/01_inventory.tsv"
    conda:
        "../envs/core.yaml"
    params:
        project=lambda wc: predict_params.inventory(
            PROJECTS[wc.project], settings.watch_sources, Path(PREDICT, "01_inventory", f"{wc.project}.parquet")
        ),
        archives=settings.predict.archives.limits,
        algorithm=1,
    script:
        "../workflow_scripts/predict/inventory.py"


rule predict_02_embed:
    """Embed the images of a project with CLIP, as far as the cache does not know them; small projects first."""
    input:
        inventory=f"{PREDICT}/01_inventory/{{project}}.parquet",
        model=ancient(model_card(settings.predict.model)),
    output:
        f"{PREDICT}/02_embed/{{project}}.parquet",
    log:
        "logs/predict/{project}/02_embed.log",
    benchmark:
        "benchmarks/predict/{project}/02_embed.tsv"
    # Below that of the inventories, which the estimate of the remaining time needs.
    priority: lambda wc: project_priority(PROJECTS[wc.project].path)
    retries: 2
    conda:
        "../envs/clip.yaml"
    threads: 8
    resources:
        gpu=model_gpus(),
        mem_mb=lambda wc, attempt: 8_000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        path=lambda wc: PROJECTS[wc.project].path,
        archives=settings.predict.archives.limits,
        embedding=predict_params.embedding(settings.predict, settings.images),
        model=tracked(settings.predict.model, "name", "pretrained", "sha256"),
        machine=lambda wc, threads: machine(
            threads, batch=settings.predict.batch_size, cache=settings.predict.cache, cache_root=settings.cache_root
        ),
        # No input, for another project must not run this one again. A lambda that takes `threads` is not tracked.
        inventories=lambda wc, threads: expand(f"{PREDICT}/01_inventory/{{project}}.parquet", project=PROJECTS),
        algorithm=1,
    script:
        "../workflow_scripts/predict/embed.py"


rule predict_03_predict:
    """Group the images of a project, score them, select the best of each group and propose its crop."""
    input:
        embeddings=f"{PREDICT}/02_embed/{{project}}.parquet",
        models=f"{PREDICT}/00_models/models.json",
        reviews=lambda wc: reviews("predict", wc.project, "groups"),
    output:
        groups=f"{PREDICT}/03_predict/{{project}}.parquet",
        images=f"{PREDICT}/03_predict/images/{{project}}.parquet",
    log:
        "logs/predict/{project}/03_predict.log",
    benchmark:
        "benchmarks/predict/{project}/03_predict.tsv"
    conda:
        "../envs/clip.yaml"
    params:
        models=lambda wc: planned(predict_params.models, settings.predict),
        networks=predict_params.networks(settings.predict),
        grouping=lambda wc: planned(predict_params.grouping, settings.predict, PROJECTS[wc.project]),
        algorithm=1,
    script:
        "../workflow_scripts/predict/predict.py"


rule predict_04_database:
    """Write the predictions of a project into a SQLite database; one that a person works in is left as it is."""
    input:
        groups=f"{PREDICT}/03_predict/{{project}}.parquet",
    output:
        f"{PREDICT}/04_database/{{project}}.json",
    log:
        "logs/predict/{project}/04_database.log",
    benchmark:
        "benchmarks/predict/{project}/04_database.tsv"
    conda:
        "../envs/core.yaml"
    params:
        how=lambda wc: {
            "grouping": planned(predict_params.grouping, settings.predict, PROJECTS[wc.project]),
            "networks": predict_params.networks(settings.predict),
        },
        algorithm=1,
    script:
        "../workflow_scripts/predict/fill_database.py"


rule predict_05_validate:
    """Check the database of a project against the contract and the source, and write the project's line of the log."""
    input:
        receipt=f"{PREDICT}/04_database/{{project}}.json",
        groups=f"{PREDICT}/03_predict/{{project}}.parquet",
        images=f"{PREDICT}/03_predict/images/{{project}}.parquet",
    output:
        verdict=f"{PREDICT}/05_validate/{{project}}.json",
        line=f"{PREDICT}/05_validate/log/{{project}}.json",
    log:
        "logs/predict/{project}/05_validate.log",
    conda:
        "../envs/core.yaml"
    params:
        benchmarks=lambda wc: [f"benchmarks/predict/{wc.project}/{step}.tsv" for step in predict_params.TIMED],
        algorithm=1,
    script:
        "../workflow_scripts/predict/validate_project.py"
