# lora: a page to judge each step by. What a person decides there is an input of the next step.
#
# in:  the tables and pictures of the steps; earlier decisions (reviews)
# out: {results_root}/{workspace}/01b_validation_report/ to 06b_caption_qa_report/


localrules:
    lora_01_validation_page,
    lora_02_reject_page,
    lora_03_mask_page,
    lora_04_filter_page,
    lora_04_sharpness_page,
    lora_05_background_page,
    lora_06_caption_page,


rule lora_01_validation_page:
    """Frames of each video, expected and there."""
    input:
        frames=lambda wc: lora_tables("01_source_frames", wc.workspace),
    output:
        report(
            directory(f"{LORA}/{{workspace}}/01b_validation_report"),
            htmlindex="index.html",
            category="lora",
            labels={"workspace": "{workspace}", "page": "01b validation"},
        ),
    log:
        "logs/lora/{workspace}/01b_page.log",
    conda:
        "../envs/core.yaml"
    params:
        page=lambda wc: {"workspace": wc.workspace},
        root=lambda wc: f"{LORA}/{wc.workspace}",
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/lora/page_frames.py"


rule lora_02_reject_page:
    """Frames that show nobody, or not enough of them: some by chance, and the sharpest."""
    input:
        candidates=lambda wc: lora_tables("02_sorted_candidates", wc.workspace),
    output:
        report(
            directory(f"{LORA}/{{workspace}}/02b_reject_qa_report"),
            htmlindex="index.html",
            category="lora",
            labels={"workspace": "{workspace}", "page": "02b reject"},
        ),
    log:
        "logs/lora/{workspace}/02b_page.log",
    conda:
        "../envs/core.yaml"
    params:
        page=lambda wc: {"workspace": wc.workspace},
        root=lambda wc: f"{LORA}/{wc.workspace}",
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/lora/page_rejects.py"


rule lora_03_mask_page:
    """Each candidate beside its cut-out subject."""
    input:
        masks=lambda wc: lora_tables("03_masked_subjects", wc.workspace),
        candidates=lambda wc: lora_tables("02_sorted_candidates", wc.workspace),
        reviews=lambda wc: reviews("lora", wc.workspace, "03_mask"),
    output:
        report(
            directory(f"{LORA}/{{workspace}}/03b_mask_qa_report"),
            htmlindex="index.html",
            category="lora",
            labels={"workspace": "{workspace}", "page": "03b mask"},
        ),
    log:
        "logs/lora/{workspace}/03b_page.log",
    conda:
        "../envs/core.yaml"
    params:
        page=lambda wc: {"reviews": review_path("lora", wc.workspace, "03_mask"), "workspace": wc.workspace},
        root=lambda wc: f"{LORA}/{wc.workspace}",
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/lora/page_masks.py"


rule lora_04_filter_page:
    """What passed and what failed, and what other limits would change."""
    input:
        selection=f"{LORA}/{{workspace}}/04_top100_staging/manifest.parquet",
        candidates=lambda wc: lora_tables("02_sorted_candidates", wc.workspace),
        reviews=lambda wc: reviews("lora", wc.workspace, "04_select"),
    output:
        report(
            directory(f"{LORA}/{{workspace}}/04c_filter_qa_report"),
            htmlindex="index.html",
            category="lora",
            labels={"workspace": "{workspace}", "page": "04c filter"},
        ),
    log:
        "logs/lora/{workspace}/04c_page.log",
    conda:
        "../envs/core.yaml"
    params:
        page=lambda wc: {
            "reviews": review_path("lora", wc.workspace, "04_select"),
            "score": lora_params.limits(WORKSPACES[wc.workspace]),
            "workspace": wc.workspace,
        },
        root=lambda wc: f"{LORA}/{wc.workspace}",
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/lora/page_filter.py"


rule lora_04_sharpness_page:
    """The sharpest, middle and most blurred subjects of each category."""
    input:
        selection=f"{LORA}/{{workspace}}/04_top100_staging/manifest.parquet",
        candidates=lambda wc: lora_tables("02_sorted_candidates", wc.workspace),
    output:
        report(
            directory(f"{LORA}/{{workspace}}/04d_sharpness_spectrum_report"),
            htmlindex="index.html",
            category="lora",
            labels={"workspace": "{workspace}", "page": "04d sharpness spectrum"},
        ),
    log:
        "logs/lora/{workspace}/04d_page.log",
    conda:
        "../envs/core.yaml"
    params:
        page=lambda wc: {"score": tracked(WORKSPACES[wc.workspace].score, "min_sharpness"), "workspace": wc.workspace},
        root=lambda wc: f"{LORA}/{wc.workspace}",
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/lora/page_sharpness.py"


rule lora_05_background_page:
    """Subjects on their new backgrounds."""
    input:
        composites=f"{LORA}/{{workspace}}/05_training_data/manifest.parquet",
        reviews=lambda wc: reviews("lora", wc.workspace, "05_composite"),
    output:
        report(
            directory(f"{LORA}/{{workspace}}/05b_background_qa_report"),
            htmlindex="index.html",
            category="lora",
            labels={"workspace": "{workspace}", "page": "05b background"},
        ),
    log:
        "logs/lora/{workspace}/05b_page.log",
    conda:
        "../envs/core.yaml"
    params:
        page=lambda wc: {"reviews": review_path("lora", wc.workspace, "05_composite"), "workspace": wc.workspace},
        root=lambda wc: f"{LORA}/{wc.workspace}",
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/lora/page_composites.py"


rule lora_06_caption_page:
    """Captions, and which were kept out."""
    input:
        captions=f"{LORA}/{{workspace}}/06_caption/manifest.parquet",
        reviews=lambda wc: reviews("lora", wc.workspace, "06_caption"),
    output:
        report(
            directory(f"{LORA}/{{workspace}}/06b_caption_qa_report"),
            htmlindex="index.html",
            category="lora",
            labels={"workspace": "{workspace}", "page": "06b caption"},
        ),
    log:
        "logs/lora/{workspace}/06b_page.log",
    conda:
        "../envs/core.yaml"
    params:
        page=lambda wc: {"reviews": review_path("lora", wc.workspace, "06_caption"), "workspace": wc.workspace},
        root=lambda wc: f"{LORA}/{wc.workspace}",
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/lora/page_captions.py"
