# Models: fetched and verified on the machine that has a network; jobs read the card and load from its path.
#
# in:  every setting that names a model
# out: {models_root}/cards/{card}.json; fetched weights below {models_root}/clip/, pose/, mask/ and segment/

CLIP_USERS = {f"people.runs.{name}.model": run.model for name, run in settings.people.runs.items()}
CLIP_USERS |= {f"retrieval.datasets.{name}.model": dataset.model for name, dataset in settings.retrieval.datasets.items()}
CLIP_USERS |= {"predict.model": settings.predict.model} if settings.predict.projects else {}
CLIP_USERS |= {
    f"lora.workspaces.{name}.caption.clip_model": workspace.caption.clip_model for name, workspace in settings.lora.workspaces.items()
}
CLIP_USERS |= {"autotag.clip": settings.autotag.clip} if settings.autotag.source.dataset else {}
CLIP_MODELS = {Path(model_card(model)).stem: (where, model) for where, model in CLIP_USERS.items()}
WEIGHTS = {
    weights_card_name(model): (f"lora.workspaces.{name}.{model['kind']}", model)
    for name, workspace in settings.lora.workspaces.items()
    for model in (lora_params.pose_model(workspace), lora_params.mask_model(workspace))
}
if settings.autotag.source.dataset:
    segmenter = autotag_params.segment_model(settings.autotag)
    WEIGHTS[weights_card_name(segmenter)] = ("autotag.segmenter", segmenter)


localrules:
    models_01_clip,
    models_01_weights,


rule models_01_clip:
    """Fetch and verify the weights of a CLIP model, and write its card."""
    output:
        f"{settings.models_root}/cards/{{card}}.json",
    log:
        "logs/models/01_clip/{card}.log",
    wildcard_constraints:
        card="|".join(map(re.escape, CLIP_MODELS)) or "none",
    conda:
        "../envs/clip.yaml"
    params:
        model=lambda wc: checked_model(*CLIP_MODELS[wc.card]),
        folder=f"{settings.models_root}/clip",
        algorithm=1,
    script:
        "../workflow_scripts/models/clip_card.py"


rule models_01_weights:
    """Fetch and verify the weights of a model that is one file, and write its card."""
    output:
        f"{settings.models_root}/cards/{{weights}}.json",
    log:
        "logs/models/01_weights/{weights}.log",
    wildcard_constraints:
        weights="|".join(map(re.escape, WEIGHTS)) or "none",
    conda:
        "../envs/pose.yaml"
    params:
        model=lambda wc: planned(checked_weights, *WEIGHTS[wc.weights]),
        folder=lambda wc: settings.models_root,
        algorithm=1,
    script:
        "../workflow_scripts/models/weights_card.py"
