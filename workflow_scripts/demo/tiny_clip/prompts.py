"""The texts that a tiny CLIP is trained and measured with."""

from workflow_scripts.demo.drawing import BACKGROUNDS, COLOURS, KINDS
from workflow_scripts.demo.drawing.words import with_article

# The default prompts of the people pipeline.
PERSON = (
    "a photo of a person",
    "a photo of a human",
    "a photo of people",
    "a photo of a man",
    "a photo of a woman",
    "a photo of a child",
    "a portrait of a person",
)
OTHER = (
    "a photo of a landscape",
    "a photo of a building",
    "a photo of food",
    "a photo of an object",
    "an empty room",
)
WHO = ("man", "woman", "child")
KIND_NAMES = tuple(sorted(KINDS))
COLOUR_NAMES = tuple(sorted(COLOURS))
BACKGROUND_NAMES = tuple(sorted(BACKGROUNDS))

WHO_TEXTS = tuple(f"a photo of {with_article(who)}" for who in WHO)
KIND_TEXTS = tuple(f"a photo of {with_article(kind)}" for kind in KIND_NAMES)
# Row = kind, column = colour.
COLOUR_TEXTS = tuple(f"a photo of {with_article(f'{colour} {kind}')}" for kind in KIND_NAMES for colour in COLOUR_NAMES)
BACKGROUND_TEXTS = tuple(f"a photo {BACKGROUNDS[name].phrase}" for name in BACKGROUND_NAMES)
