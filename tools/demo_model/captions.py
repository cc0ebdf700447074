"""Captions for scenes, in varying wording and with attributes left out at random."""

from __future__ import annotations

import numpy as np

from world import Scene, Thing

OPENINGS = ("", "", "a photo of ", "a photo of ", "a photo of ", "a picture of ", "an image of ", "a drawing of ")
PLACES = {
    "grass": ("on the grass", "on grass", "in the grass", "with grass in the background"),
    "sand": ("on the sand", "on sand", "in the sand", "with sand in the background"),
    "snow": ("in the snow", "on the snow", "in snow", "with snow in the background"),
    "night": ("at night", "in the night", "in the night sky", "with the night sky in the background"),
    "sea": ("on the sea", "in the sea", "at sea", "with the sea in the background"),
    "pavement": ("on the pavement", "on a pavement", "on pavement", "with pavement in the background"),
}
EMPTY_GROUNDS = {
    "grass": ("grass", "the grass"),
    "sand": ("sand", "the sand"),
    "snow": ("snow", "the snow"),
    "night": ("the night sky", "the night"),
    "sea": ("the sea", "sea"),
    "pavement": ("pavement", "the pavement"),
}
WHERE = {
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "middle": ("in the middle", "in the centre"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
}
SMALL = ("small", "little", "tiny")
LARGE = ("large", "big", "huge")
KEEP_COLOUR, KEEP_PLACE, KEEP_SIZE, KEEP_WHERE = 0.7, 0.75, 0.4, 0.3
EMPTY = 0.08


def with_article(words: list[str]) -> str:
    phrase = " ".join(word for word in words if word)
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def thing_phrase(thing: Thing, rng: np.random.Generator) -> str:
    colour = colour_words(thing) if rng.random() < KEEP_COLOUR else ""
    size = ""
    if thing.size and rng.random() < KEEP_SIZE:
        size = str(rng.choice(SMALL if thing.size == "small" else LARGE))
    return with_article([size, colour, thing.cls])


def colour_words(thing: Thing) -> str:
    return f"{thing.colour} and {thing.lower}" if thing.lower else thing.colour


def pair_phrase(left: str, right: str, rng: np.random.Generator) -> str:
    form = rng.integers(6)
    if form < 3:
        return f"{left} and {right}"
    if form == 3:
        return f"{left} next to {right}"
    return f"{left} to the left of {right}" if form == 4 else f"{right} to the right of {left}"


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One caption of the scene; empty now and then, for guidance."""
    if rng.random() < EMPTY:
        return ""
    opening = str(rng.choice(OPENINGS))
    if not scene.things:
        return opening + str(rng.choice(EMPTY_GROUNDS[scene.background]))
    if len(scene.things) == 2:
        subject = pair_phrase(*(thing_phrase(thing, rng) for thing in scene.things), rng)
    else:
        thing = scene.things[0]
        subject = thing_phrase(thing, rng)
        if rng.random() < KEEP_WHERE:
            subject += " " + str(rng.choice(WHERE[thing.position]))
    place = " " + str(rng.choice(PLACES[scene.background])) if rng.random() < KEEP_PLACE else ""
    return opening + subject + place
