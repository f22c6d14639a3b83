# predict: the summary of all projects, pages to look at the selections on, and what is done with the databases afterwards.
#
# in:  {results_root}/03_predict/, 04_database/ and 05_validate/; databases that people work in (user_database in the table)
# out: {results_root}/batch_predictions_summary.json, batch_predictions_log.jsonl, 06_report/{project}/, merged/{project}.json


localrules:
    predict_06_summary,
    predict_06_report,
    predict_07_merge,
    predict_check,
    predict_import,
    predict_merge,


rule predict_06_summary:
    """Write the summary and the log of all projects."""
    input:
        lines=expand(f"{PREDICT}/05_validate/log/{{project}}.json", project=PROJECTS),
    output:
        summary=f"{PREDICT}/batch_predictions_summary.json",
        log=f"{PREDICT}/batch_predictions_log.jsonl",
    log:
        "logs/predict/06_summary.log",
    conda:
        "../envs/core.yaml"
    params:
        batch=lambda wc: planned(predict_params.batch, projects(), PREDICT, planned(predict_params.models, settings.predict)),
        machine=lambda wc, threads: {"started": STARTED},
        algorithm=1,
    script:
        "../workflow_scripts/predict/summary.py"


rule predict_06_report:
    """A page of a project: the selected image of each group with its crop, the least certain first."""
    input:
        groups=f"{PREDICT}/03_predict/{{project}}.parquet",
        images=f"{PREDICT}/03_predict/images/{{project}}.parquet",
    output:
        report(
            directory(f"{PREDICT}/06_report/{{project}}"),
            htmlindex="index.html",
            category="predict",
            labels={"project": "{project}", "page": "selections"},
        ),
    log:
        "logs/predict/{project}/06_report.log",
    benchmark:
        "benchmarks/predict/{project}/06_report.tsv"
    conda:
        "../envs/core.yaml"
    params:
        page=lambda wc: {
            "archives": settings.predict.archives.limits,
            "max_pixels": settings.images.max_pixels,
            "path": PROJECTS[wc.project].path,
            "project_id": PROJECTS[wc.project].project_id,
            "reviews": review_path("predict", wc.project, "groups"),
        },
        machine=lambda wc, threads: {"threads": threads, "cache_root": settings.cache_root},
        algorithm=1,
    script:
        "../workflow_scripts/predict/report.py"


rule predict_check:
    """What is wrong with the databases; ends well only if nothing is."""
    input:
        verdicts=lambda wc: expand(f"{PREDICT}/05_validate/{{project}}.json", project=project_names()),
        summary=f"{PREDICT}/batch_predictions_summary.json",
    log:
        "logs/predict/check.log",
    conda:
        "../envs/core.yaml"
    script:
        "../workflow_scripts/predict/check.py"


rule predict_07_merge:
    """Fill the predictions of a project into the database that a person works in, after a backup."""
    input:
        receipt=f"{PREDICT}/04_database/{{project}}.json",
    output:
        f"{PREDICT}/07_merge/{{project}}.json",
    log:
        "logs/predict/{project}/07_merge.log",
    conda:
        "../envs/core.yaml"
    params:
        users=lambda wc: {
            "path": PROJECTS[wc.project].user_database,
            "fingerprint": predict_sources.fingerprint(PROJECTS[wc.project].user_database),
        },
        algorithm=1,
    script:
        "../workflow_scripts/predict/merge.py"


rule predict_merge:
    """Fill predictions into the databases that people work in (user_database in the table of projects)."""
    input:
        lambda wc: expand(
            f"{PREDICT}/07_merge/{{project}}.json",
            project=named(
                "user_database in the table of predict.projects", [name for name in project_names() if PROJECTS[name].user_database]
            ),
        ),


rule predict_00_import:
    """Take over the embeddings of an older cache, after 20 of its images were embedded again and agree."""
    input:
        model=ancient(model_card(settings.predict.model)),
    output:
        f"{PREDICT}/00_import/{{folder}}.json",
    log:
        "logs/predict/00_import/{folder}.log",
    wildcard_constraints:
        folder="|".join(map(re.escape, map(slug, settings.predict.imports))) or "none",
    conda:
        "../envs/clip.yaml"
    threads: 8
    resources:
        # As for the embedding itself: vectors of another precision would never be found.
        gpu=model_gpus(),
        mem_mb=lambda wc, attempt: 8_000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        folder=lambda wc: {slug(path): path for path in settings.predict.imports}[wc.folder],
        embedding=predict_params.embedding(settings.predict, settings.images),
        machine=lambda wc, threads: machine(threads, batch=settings.predict.batch_size, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/predict/import_cache.py"


rule predict_import:
    """Take over older caches of embeddings (predict.imports), so that their images need not be embedded again."""
    input:
        lambda wc: expand(f"{PREDICT}/00_import/{{folder}}.json", folder=map(slug, named("predict.imports", settings.predict.imports))),
