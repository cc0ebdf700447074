"""Score an exported model folder with the judge, on combinations that it was never trained on.

Prints background, colour and shape over 200 one-object prompts, the same for two-object prompts, and the scores
after shuffling prompts between pictures (chance); then how often things of two colours have both where they belong,
for pairs of colours that were in training and for those that never were. Writes a contact sheet of 24 samples. About
seven minutes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

import concepts
import judge
import paths
import world
from captions import PLACES, with_article
from sampler import GUIDANCE, Sampler


def held_out_prompts(count: int) -> list[str]:
    """One-object prompts over the held-out triples, each triple about equally often."""
    triples = sorted(world.HELD_OUT)
    order = np.random.default_rng(11).permutation(len(triples))
    prompts = []
    for k in range(count):
        cls, colour, ground = triples[order[k % len(triples)]]
        prompts.append(f"a photo of {with_article([colour, cls])} {PLACES[ground][k % 2]}")
    return prompts


def pair_prompts(count: int) -> list[str]:
    """Two-object prompts with two colours."""
    rng = np.random.default_rng(12)
    prompts = []
    for _ in range(count):
        left, right = rng.choice(world.COLOUR_NAMES, 2, replace=False)
        first, second = rng.choice(world.CLASSES, 2)
        ground = str(rng.choice(world.BACKGROUND_NAMES))
        prompts.append(f"{with_article([left, first])} and {with_article([right, second])} {PLACES[ground][0]}")
    return prompts


def tone_looks(count: int, held_out: bool) -> list[concepts.Look]:
    """Things of two colours, whose pair of colours was in training or never was."""
    rng = np.random.default_rng([14, held_out])
    pairs = [(upper, lower) for upper in world.COLOURS for lower in world.COLOURS if upper != lower]
    pairs = [pair for pair in pairs if (pair in world.HELD_OUT_TONES) == held_out]
    looks = []
    for _ in range(count):
        pair = pairs[rng.integers(len(pairs))]
        cls, background = str(rng.choice(world.CLASSES)), str(rng.choice(world.BACKGROUND_NAMES))
        looks.append(concepts.Look("", cls, background, *pair))
    return looks


def tone_shares(pictures: np.ndarray, looks: list[concepts.Look]) -> dict[str, float]:
    verdicts = [concepts.shows_look(picture, look) for picture, look in zip(pictures, looks)]
    both = [verdict["upper"] and verdict["lower"] for verdict in verdicts]
    each = {part: np.mean([verdict[part] for verdict in verdicts]) for part in ("upper", "lower", "shape")}
    return {name: round(float(share), 3) for name, share in {"both": np.mean(both), **each}.items()}


def tone_prompt(look: concepts.Look) -> str:
    return f"a photo of {with_article([look.upper, 'and', look.lower, look.cls])} {PLACES[look.background][0]}"


def shares(pictures: np.ndarray, prompts: list[str]) -> dict[str, float]:
    verdicts = [judge.judge(picture, prompt) for picture, prompt in zip(pictures, prompts)]
    return {
        name: round(float(np.mean([getattr(verdict, name) for verdict in verdicts])), 3)
        for name in ("background", "colours", "shapes")
    }


def contact_sheet(pictures: np.ndarray, columns: int, file: Path) -> None:
    rows, (height, width) = len(pictures) // columns, pictures.shape[1:3]
    grid = pictures[: rows * columns].reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid.reshape(rows * height, columns * width, 3)).save(file, optimize=True)


def evaluate(folder: Path, sheet: Path | None, settings: dict, singles: int, pairs: int, tones: int) -> dict:
    sampler = Sampler(folder, settings.pop("threads"))
    prompts, doubles = held_out_prompts(singles), pair_prompts(pairs)
    pictures = sampler.generate(prompts, list(range(singles)), **settings)
    paired = sampler.generate(doubles, list(range(1000, 1000 + pairs)), **settings)
    if sheet:
        contact_sheet(np.concatenate([pictures[:16], paired[:8]]), 6 if singles >= 16 else 4, sheet)
    toned = {}
    for name, held_out in ("seen together", False), ("never together", True):
        looks = tone_looks(tones, held_out)
        drawn = sampler.generate([tone_prompt(look) for look in looks], list(range(2000, 2000 + tones)), **settings)
        toned[name] = tone_shares(drawn, looks)
    shuffled = [prompts[k] for k in np.random.default_rng(13).permutation(singles)]
    return {
        "settings": settings,
        "one object, held out": shares(pictures, prompts),
        "two objects": shares(paired, doubles),
        "one object, prompts shuffled": shares(pictures, shuffled),
        "two colours": toned,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=paths.MODEL)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--singles", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--tones", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    settings = {"steps": a.steps, "guidance": a.guidance, "side": a.side, "threads": a.threads}
    print(json.dumps(evaluate(a.model, a.sheet, settings, a.singles, a.pairs, a.tones), indent=1))


if __name__ == "__main__":
    main()
