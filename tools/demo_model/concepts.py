"""Three concepts: classes the model knows, in looks it has never seen, five pictures each.

Each look is two colours, one above and one below the centre: features of several latent cells, which the autoencoder
keeps. The model has seen things of two colours, but never of these two. All five pictures of a concept lie on one ground, so that overfitting has something to grip.
Class pictures (other colours, all grounds) are for comparison. The judge's counterpart, `shows_look`, is here too.
`python concepts.py` draws everything into models/concepts in a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

import judge
import paths
import world
from captions import PLACES

SIDE = 128
PICTURES = 5
CLASS_PICTURES = 10


@dataclasses.dataclass(frozen=True)
class Look:
    """`upper` and `lower` colour, one of world.HELD_OUT_TONES."""

    name: str
    cls: str
    background: str
    upper: str
    lower: str


LOOKS = (
    Look("two_tone_ball", "ball", "grass", "red", "cyan"),
    Look("red_roof_house", "house", "sand", "red", "yellow"),
    Look("iced_doughnut", "doughnut", "snow", "purple", "yellow"),
)


def draw_look(look: Look, thing: world.Thing, background: str, seed: int) -> np.ndarray:
    """A scene of the thing in the look, bytes [SIDE, SIDE, 3]."""
    dressed = dataclasses.replace(thing, colour=look.upper, lower=look.lower)
    return world.render([world.Scene(background, (dressed,), seed)], SIDE)[0]


def shows_look(picture: np.ndarray, look: Look) -> dict[str, bool]:
    """Which parts of the look the picture's largest object shows: `shape`, `upper` and `lower` colour."""
    masks = judge.object_masks(picture, 1, seam=2)
    if not masks:
        return {"shape": False, "upper": False, "lower": False}
    mask = masks[0]
    rows = np.nonzero(mask.any(1))[0]
    level = (rows[0] + rows[-1]) / 2
    inner = ndimage.binary_erosion(mask, iterations=2)
    inner = inner if inner.any() else mask
    below = np.arange(len(mask))[:, None] > level
    return {
        "shape": judge.shape(mask) == look.cls,
        "upper": nearest_colour(picture, inner & ~below) == look.upper,
        "lower": nearest_colour(picture, inner & below) == look.lower,
    }


def nearest_colour(picture: np.ndarray, mask: np.ndarray) -> str:
    if not mask.any():
        return "none"
    median = np.median(picture[mask], axis=0)
    return min(world.COLOURS, key=lambda name: float(((np.array(world.COLOURS[name]) - median) ** 2).sum()))


def save(picture: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file, optimize=True)


def plain_prompt(cls: str, background: str) -> str:
    return f"a photo of a {cls} {PLACES[background][0]}"


def write_concept(look: Look, folder: Path) -> None:
    rng = np.random.default_rng([21, LOOKS.index(look)])
    positions = ("middle", "left", "right", "top", "middle")
    pictures, class_pictures = [], []
    for k, position in enumerate(positions):
        thing = world.place(rng, look.cls, "red", "large", position)
        save(draw_look(look, thing, look.background, int(rng.integers(2**31))), folder / f"{k:02}.png")
        pictures.append({"file": f"{k:02}.png", "prompt": plain_prompt(look.cls, look.background)})
    for k in range(CLASS_PICTURES):
        background = world.BACKGROUND_NAMES[k % len(world.BACKGROUND_NAMES)]
        thing = world.place(rng, look.cls, world.COLOUR_NAMES[k % len(world.COLOURS)], "large", "middle")
        scene = world.Scene(background, (thing,), int(rng.integers(2**31)))
        save(world.render([scene], SIDE)[0], folder / "class" / f"{k:02}.png")
        class_pictures.append({"file": f"class/{k:02}.png", "prompt": plain_prompt(look.cls, background)})
    others = [name for name in world.BACKGROUND_NAMES if name != look.background]
    content = {
        "concept": look.cls,
        "class": look.cls,
        "look": dataclasses.asdict(look),
        "pictures": pictures,
        "class_pictures": class_pictures,
        "evaluation_prompts": [plain_prompt(look.cls, name) for name in others],
    }
    (folder / "prompts.json").write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=Path, default=paths.CONCEPTS)
    target = parser.parse_args().target
    for look in LOOKS:
        write_concept(look, target / look.name)
        pictures = [np.asarray(Image.open(file)) for file in sorted((target / look.name).glob("*.png"))]
        if not all(all(shows_look(picture, look).values()) for picture in pictures):
            raise SystemExit(f"{look.name}: the judge does not recognise its own pictures")
        print(f"{look.name}: {len(pictures)} pictures, all recognised")


if __name__ == "__main__":
    main()
