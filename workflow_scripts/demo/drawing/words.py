"""Words for a drawing: varied captions, and the tags that are true of it."""

import numpy as np

from workflow_scripts.demo.drawing.backdrop import BACKGROUNDS
from workflow_scripts.demo.drawing.kinds import KINDS
from workflow_scripts.demo.drawing.seeds import pick
from workflow_scripts.demo.drawing.specs import Drawing

NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
PLURALS = {"man": "men", "woman": "women", "child": "children"}


def with_article(words: str) -> str:
    """Return words with "a" or "an" before them."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def people_words(drawing: Drawing, rng: np.random.Generator) -> str:
    """Return a noun phrase for the people of a drawing."""
    kinds = [person.spec.kind for person in drawing.people]
    if len(kinds) == 1:
        who = pick(rng, ["a person", "a human", with_article(kinds[0]), with_article(kinds[0])])
        colour = drawing.people[0].spec.top_colour
        return f"{who} in {colour}" if rng.random() < 0.2 else who
    options = ["people", f"{NUMBERS.get(len(kinds), str(len(kinds)))} people", "a group of people"]
    if len(set(kinds)) == 1:
        options.append(f"{NUMBERS.get(len(kinds), str(len(kinds)))} {PLURALS[kinds[0]]}")
    return pick(rng, options)


def things_words(drawing: Drawing, rng: np.random.Generator) -> str:
    """Return a noun phrase for the things of a drawing, nearest first, with or without colours."""
    named = []
    for thing in drawing.things[::-1][:3]:
        colour = "" if rng.random() < 0.35 else f"{thing.colour} "
        named.append(with_article(f"{colour}{thing.kind}"))
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def scene_words(drawing: Drawing, rng: np.random.Generator) -> str:
    """Return a noun phrase for what a drawing without people shows as a whole."""
    place = BACKGROUNDS[drawing.background]
    if not drawing.things:
        if place.indoor:
            return pick(rng, ["an empty room", place.scene])
        return pick(rng, ["a building", place.scene] if drawing.background == "street" else ["a landscape", place.scene])
    group = KINDS[drawing.things[-1].kind].group
    return {"building": "a building", "food": "food", "nature": "a landscape"}.get(group, "an object")


def caption(drawing: Drawing, rng: np.random.Generator) -> str:
    """Return one of many true captions of a drawing, such as "a photo of a red car on a beach"."""
    where = f" {BACKGROUNDS[drawing.background].phrase}"
    start = pick(rng, ["a photo of ", "a photo of ", "", "a picture of "])
    if drawing.people:
        if drawing.people[-1].framing == "portrait" and rng.random() < 0.6:
            return f"a portrait of {people_words(drawing, rng)}"
        words = people_words(drawing, rng)
        if drawing.things and rng.random() < 0.5:
            words = f"{words} {pick(rng, ['next to', 'with', 'and'])} {things_words(drawing, rng)}"
    elif not drawing.things:
        return f"{start}{scene_words(drawing, rng)}"
    else:
        words = scene_words(drawing, rng) if rng.random() < 0.25 else things_words(drawing, rng)
    return f"{start}{words}{where if rng.random() < 0.5 else ''}"


def tags(drawing: Drawing) -> tuple[str, ...]:
    """Return the tags that are true of a drawing, sorted: kinds, colours with kinds, place, and who is there."""
    place = BACKGROUNDS[drawing.background]
    found = {drawing.background, "indoors" if place.indoor else "outdoors"}
    for thing in drawing.things:
        found |= {thing.kind, f"{thing.colour} {thing.kind}", KINDS[thing.kind].group}
    for person in drawing.people:
        found |= {"person", person.spec.kind}
        if person.framing == "portrait":
            found.add("portrait")
        if person.view == "back":
            found.add("from behind")
    if len(drawing.people) > 1:
        found.add("people")
    return tuple(sorted(found | set(drawing.distractors)))
