"""The texts that a tiny CLIP is trained and measured with."""

from workflow_scripts.demo.drawing import BACKGROUNDS, COLOURS, KINDS
from workflow_scripts.demo.drawing.words import with_article
from workflow_scripts.settings.people import NEGATIVE, POSITIVE

# What the people pipeline asks by default.
PERSON, OTHER = POSITIVE, NEGATIVE
WHO = ("man", "woman", "child")
KIND_NAMES = tuple(sorted(KINDS))
COLOUR_NAMES = tuple(sorted(COLOURS))
BACKGROUND_NAMES = tuple(sorted(BACKGROUNDS))

WHO_TEXTS = tuple(f"a photo of {with_article(who)}" for who in WHO)
KIND_TEXTS = tuple(f"a photo of {with_article(kind)}" for kind in KIND_NAMES)
# Row = kind, column = colour.
COLOUR_TEXTS = tuple(f"a photo of {with_article(f'{colour} {kind}')}" for kind in KIND_NAMES for colour in COLOUR_NAMES)
BACKGROUND_TEXTS = tuple(f"a photo {BACKGROUNDS[name].phrase}" for name in BACKGROUND_NAMES)
