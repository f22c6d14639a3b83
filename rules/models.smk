# Models: fetched and verified on the machine that has a network; jobs read the card and load from its path.
#
# in:  every setting that names a model
# out: {models_root}/cards/{card}.json; fetched weights below {models_root}/clip/

CLIP_USERS = {f"people.runs.{name}": run for name, run in settings.people.runs.items()}
CLIP_USERS |= {f"retrieval.datasets.{name}": dataset for name, dataset in settings.retrieval.datasets.items()}
CLIP_USERS |= {"predict": settings.predict} if settings.predict.projects else {}
CLIP_MODELS = {Path(model_card(user.model)).stem: (f"{where}.model", user.model) for where, user in CLIP_USERS.items()}


localrules:
    models_01_clip,


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
