# lora: videos to frames, frames to cut-out subjects of which the best are chosen. A workspace is one folder with videos.
#
# in:  {base_dir}/source_videos/; pose weights and mask weights; what people decided (reviews)
# out: {results_root}/{workspace}/01_source_frames/ to 04_top100_staging/, tables beside the pictures

LORA = settings.lora.results_root
WORKSPACES = settings.lora.workspaces


localrules:
    lora_02_sort,
    lora_04_select,


wildcard_constraints:
    workspace="|".join(map(re.escape, WORKSPACES)) or "none",
    video=r"[A-Za-z0-9._-]+",


rule lora_01_frames:
    """Take frames of a video at equal distances in time; a video that breaks off gives those before the break."""
    output:
        f"{LORA}/{{workspace}}/01_source_frames/{{video}}.parquet",
    log:
        "logs/lora/{workspace}/01_frames/{video}.log",
    benchmark:
        "benchmarks/lora/{workspace}/01_frames/{video}.tsv"
    conda:
        "../envs/video.yaml"
    threads: 4
    params:
        video=lambda wc: lora_params.video(videos(wc.workspace)[wc.video], settings.watch_sources),
        fps=lambda wc: WORKSPACES[wc.workspace].fps,
        limit=lambda wc: WORKSPACES[wc.workspace].slice.frames,
        root=lambda wc: f"{LORA}/{wc.workspace}",
        max_pixels=settings.images.max_pixels,
        machine=lambda wc, threads: machine(threads),
        algorithm=1,
    script:
        "../workflow_scripts/lora/frames.py"


rule lora_02_pose:
    """Find the people of a video's frames and their keypoints."""
    input:
        frames=f"{LORA}/{{workspace}}/01_source_frames/{{video}}.parquet",
        model=lambda wc: ancient(weights_card(lora_params.pose_model(WORKSPACES[wc.workspace]))),
    output:
        f"{LORA}/{{workspace}}/02_pose/{{video}}.parquet",
    log:
        "logs/lora/{workspace}/02_pose/{video}.log",
    benchmark:
        "benchmarks/lora/{workspace}/02_pose/{video}.tsv"
    retries: 2
    conda:
        "../envs/pose.yaml"
    threads: 8
    resources:
        gpu=model_gpus(),
        mem_mb=lambda wc, attempt: 8_000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        model=lambda wc: lora_params.pose_model(WORKSPACES[wc.workspace]),
        root=lambda wc: f"{LORA}/{wc.workspace}",
        max_pixels=settings.images.max_pixels,
        machine=lambda wc, threads: machine(threads, batch=WORKSPACES[wc.workspace].pose.batch_size, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/lora/pose.py"


rule lora_02_sort:
    """Sort a video's frames by what of a person they show."""
    input:
        frames=f"{LORA}/{{workspace}}/01_source_frames/{{video}}.parquet",
        poses=f"{LORA}/{{workspace}}/02_pose/{{video}}.parquet",
    output:
        f"{LORA}/{{workspace}}/02_sorted_candidates/{{video}}.parquet",
    log:
        "logs/lora/{workspace}/02_sort/{video}.log",
    conda:
        "../envs/core.yaml"
    params:
        sort=lambda wc: tracked(WORKSPACES[wc.workspace].pose, "box_conf", "conf_threshold", "max_people"),
        root=lambda wc: f"{LORA}/{wc.workspace}",
        algorithm=1,
    script:
        "../workflow_scripts/lora/sort.py"


rule lora_03_mask:
    """Cut the chosen person out of a video's candidates."""
    input:
        sorted=f"{LORA}/{{workspace}}/02_sorted_candidates/{{video}}.parquet",
        model=lambda wc: ancient(weights_card(lora_params.mask_model(WORKSPACES[wc.workspace]))),
    output:
        f"{LORA}/{{workspace}}/03_masked_subjects/{{video}}.parquet",
    log:
        "logs/lora/{workspace}/03_mask/{video}.log",
    benchmark:
        "benchmarks/lora/{workspace}/03_mask/{video}.tsv"
    retries: 2
    conda:
        "../envs/mask.yaml"
    threads: 8
    resources:
        gpu=model_gpus(),
        mem_mb=lambda wc, attempt: 8_000 * attempt,
        runtime=lambda wc, attempt: 240 * attempt,
    params:
        model=lambda wc: lora_params.mask_model(WORKSPACES[wc.workspace]),
        # Masks that people retouched since: nothing that the step reads here, but a reason to run it again.
        by_hand=lambda wc: planned(lora_by_hand.masks, Path(LORA, wc.workspace), wc.video),
        alpha_matting=lambda wc: WORKSPACES[wc.workspace].mask.alpha_matting,
        root=lambda wc: f"{LORA}/{wc.workspace}",
        max_pixels=settings.images.max_pixels,
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/lora/mask.py"


rule lora_04_measure:
    """Measure the masks of a video: shape, sharpness, brightness, pose, perceptual hash."""
    input:
        masks=f"{LORA}/{{workspace}}/03_masked_subjects/{{video}}.parquet",
        sorted=f"{LORA}/{{workspace}}/02_sorted_candidates/{{video}}.parquet",
    output:
        f"{LORA}/{{workspace}}/04_metrics/{{video}}.parquet",
    log:
        "logs/lora/{workspace}/04_measure/{video}.log",
    benchmark:
        "benchmarks/lora/{workspace}/04_measure/{video}.tsv"
    conda:
        "../envs/mask.yaml"
    threads: 8
    params:
        root=lambda wc: f"{LORA}/{wc.workspace}",
        max_pixels=settings.images.max_pixels,
        machine=lambda wc, threads: machine(threads, cache_root=settings.cache_root),
        algorithm=1,
    script:
        "../workflow_scripts/lora/measure.py"


rule lora_04_select:
    """Choose the best subjects of each category, without near copies; every other one gets its reason."""
    input:
        metrics=lambda wc: lora_tables("04_metrics", wc.workspace),
        reviews=lambda wc: reviews("lora", wc.workspace, "03_mask"),
    output:
        manifest=f"{LORA}/{{workspace}}/04_top100_staging/manifest.parquet",
        scores=f"{LORA}/{{workspace}}/04_top100_staging/scoring_results.json",
    log:
        "logs/lora/{workspace}/04_select.log",
    benchmark:
        "benchmarks/lora/{workspace}/04_select.tsv"
    conda:
        "../envs/core.yaml"
    params:
        score=lambda wc: sort_keys(WORKSPACES[wc.workspace].score),
        root=lambda wc: f"{LORA}/{wc.workspace}",
        algorithm=1,
    script:
        "../workflow_scripts/lora/selection.py"
