# people: pages to judge the decisions by and to label a sample on, and what the labels tell.
#
# in:  {results_root}/{run}/03_score/ and 05_merge/aggregate/; reviews/people/{run}/labels.csv where it exists
# out: {results_root}/{run}/07_report/index.html, 07_labelling/index.html, 07_calibration/


localrules:
    people_07_calibrate,
    people_07_report,
    people_07_labelling,
    people_calibration,
    people_labelling,


rule people_07_calibrate:
    """Compare the scores with a person's labels: precision and recall at every threshold, and what the sample can tell."""
    input:
        scores=lambda wc: expand(f"{PEOPLE}/{wc.run}/03_score/{{shard}}.parquet", shard=SHARDS[wc.run]),
        labels=lambda wc: labels(wc.run, PEOPLE_RUNS[wc.run].labels),
    output:
        json=f"{PEOPLE}/{{run}}/07_calibration/calibration.json",
        table=f"{PEOPLE}/{{run}}/07_calibration/calibration.csv",
    log:
        "logs/people/{run}/07_calibrate.log",
    conda:
        "../envs/core.yaml"
    params:
        calibration=lambda wc: tracked(PEOPLE_RUNS[wc.run], "threshold", "wished_recall"),
        algorithm=1,
    script:
        "../workflow_scripts/people/calibrate.py"


rule people_07_report:
    """A page to judge the decisions by: what another threshold would do, images at the border, corrections by hand."""
    input:
        merged=expand(f"{PEOPLE}/{{{{run}}}}/05_merge/aggregate/{{file}}", file=AGGREGATE_FILES),
        calibration=lambda wc: [f"{PEOPLE}/{wc.run}/07_calibration/calibration.json" for _ in labels(wc.run, PEOPLE_RUNS[wc.run].labels)],
    output:
        report(
            directory(f"{PEOPLE}/{{run}}/07_report"),
            htmlindex="index.html",
            category="people",
            labels={"run": "{run}", "page": "report"},
        ),
    log:
        "logs/people/{run}/07_report.log",
    benchmark:
        "benchmarks/people/{run}/07_report.tsv"
    conda:
        "../envs/core.yaml"
    params:
        run=lambda wc: tracked(
            PEOPLE_RUNS[wc.run],
            "source",
            "threshold",
            run_id=wc.run,
            store=people_params.store(PEOPLE_RUNS[wc.run]),
            max_pixels=settings.images.max_pixels,
            reviews=review_path("people", wc.run, "decide"),
        ),
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/people/report.py"


rule people_07_labelling:
    """A page to label a sample of the images on, blind to the model."""
    input:
        merged=expand(f"{PEOPLE}/{{{{run}}}}/05_merge/aggregate/{{file}}", file=AGGREGATE_FILES),
    output:
        directory(f"{PEOPLE}/{{run}}/07_labelling"),
    log:
        "logs/people/{run}/07_labelling.log",
    conda:
        "../envs/core.yaml"
    params:
        run=lambda wc: tracked(
            PEOPLE_RUNS[wc.run],
            "source",
            "threshold",
            "label_images",
            "sample_seed",
            run_id=wc.run,
            store=people_params.store(PEOPLE_RUNS[wc.run]),
            max_pixels=settings.images.max_pixels,
            labels=PEOPLE_RUNS[wc.run].labels or review_path("people", wc.run, "labels"),
        ),
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/people/labelling.py"


rule people_labelling:
    """Pages to label a sample of each people run on; the labels then calibrate the threshold."""
    input:
        lambda wc: people_files("07_labelling"),


rule people_calibration:
    """Precision and recall of the people runs that have labels."""
    input:
        lambda wc: people_files(
            "07_calibration/calibration.json",
            runs=[run for run in named("people.runs", PEOPLE_RUNS) if labels(run, PEOPLE_RUNS[run].labels)],
            merged=False,
        ),
