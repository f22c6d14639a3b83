# demo: the small models, trained on drawings; the committed ones in resources/demo were made so.
#
# in:  nothing
# out: {demo.results_root}/models/, to be copied over resources/demo/ by hand


localrules:
    demo_02_clip,
    demo_02_predict_models,
    demo_02_lora_models,
    demo_02_autotag_model,
    demo_models,


rule demo_02_clip:
    """Train the small CLIP of the demo on drawings, about six minutes on two cores; the committed one was made so."""
    output:
        weights=f"{DEMO_RESULTS}/models/clip/open_clip_model.safetensors",
        config=f"{DEMO_RESULTS}/models/clip/open_clip_config.json",
        metrics=f"{DEMO_RESULTS}/models/clip/metrics.json",
    log:
        "logs/demo/02_clip.log",
    conda:
        "../envs/clip.yaml"
    threads: 2
    params:
        seed=settings.demo.seed,
        algorithm=1,
    script:
        "../workflow_scripts/demo/train_clip.py"


rule demo_02_predict_models:
    """Train the ranker and the crop proposer of the demo on drawn groups; the committed ones were made so."""
    input:
        weights=f"{DEMO_RESULTS}/models/clip/open_clip_model.safetensors",
        config=f"{DEMO_RESULTS}/models/clip/open_clip_config.json",
    output:
        ranker=f"{DEMO_RESULTS}/models/predict/ranker.pt",
        crop_proposer=f"{DEMO_RESULTS}/models/predict/crop_proposer.pt",
        metrics=f"{DEMO_RESULTS}/models/predict/metrics.json",
    log:
        "logs/demo/02_predict_models.log",
    conda:
        "../envs/clip.yaml"
    threads: 2
    params:
        seed=settings.demo.seed,
        algorithm=1,
    script:
        "../workflow_scripts/demo/train_predict.py"


rule demo_02_lora_models:
    """Train the pose model and the segmenter of the demo on drawn figures; the committed ones were made so."""
    output:
        pose=f"{DEMO_RESULTS}/models/lora/pose.pt",
        segmenter=f"{DEMO_RESULTS}/models/lora/segmenter.onnx",
        metrics=f"{DEMO_RESULTS}/models/lora/metrics.json",
    log:
        "logs/demo/02_lora_models.log",
    conda:
        "../envs/pose.yaml"
    threads: 2
    params:
        seed=settings.demo.seed,
        algorithm=1,
    script:
        "../workflow_scripts/demo/lora_models.py"


rule demo_02_autotag_model:
    """Train the segmenter of autotag's demo on drawn scenes; the committed one was made so."""
    output:
        segmenter=f"{DEMO_RESULTS}/models/autotag/segmenter.pt",
        metrics=f"{DEMO_RESULTS}/models/autotag/metrics.json",
    log:
        "logs/demo/02_autotag_model.log",
    conda:
        "../envs/segment.yaml"
    threads: 2
    params:
        seed=settings.demo.seed,
        algorithm=1,
    script:
        "../workflow_scripts/demo/train_autotag.py"


rule demo_models:
    """Train the demo's small models anew, into results/demo/models; the committed ones in resources/demo serve as they are."""
    input:
        expand(f"{DEMO_RESULTS}/models/{{kind}}/metrics.json", kind=["clip", "predict", "lora", "autotag"]),
