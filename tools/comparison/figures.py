"""Print the paper's Table 1 and draw its figures 7, 9 and 10 from what score.py found, under target/comparison.

figure9.png: W2 against steps; figure10.png: latent Fisher divergence against steps; figure7.png: a picture of each method
on each ground. Means over the concepts. The judge's scores stand where the paper has CLIP and DINO.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import common

COLOURS = [(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (24, 24, 24)]
ORDER = ["textual_inversion", "dreambooth", "dreambooth_lora", "custom_diffusion", "perfusion", "infusion"]


def grouped(results: list[dict]) -> dict[str, dict[int, dict[str, float]]]:
    """method → steps → means over concepts."""
    found = defaultdict(lambda: defaultdict(list))
    for result in results:
        found[result["method"]][result["steps"]].append(result)
    columns = ("prompt", "look", "ground", "shape", "wasserstein_squared", "fisher", "bytes")
    mean = lambda part: {column: float(np.mean([one[column] for one in part])) for column in columns}  # noqa: E731
    return {name: {steps: mean(part) for steps, part in sorted(found[name].items())} for name in ORDER if name in found}


def table(methods: dict, steps: int) -> str:
    head = f"| after {steps} steps | prompt (ground, shape) | look | W2² | Fisher | bytes |\n|---|---|---|---|---|---|\n"
    lines = []
    for name, by_steps in methods.items():
        if steps in by_steps:
            one = by_steps[steps]
            prompt = f"{one['prompt']:.3f} ({one['ground']:.2f}, {one['shape']:.2f})"
            lines.append(f"| {name} | {prompt} | {one['look']:.3f} | {one['wasserstein_squared']:.2f} | {one['fisher']:.4f} | {one['bytes']:.0f} |")
    return head + "\n".join(lines) + "\n"


def plot(methods: dict, column: str, title: str, file: Path) -> None:
    """Lines over the number of steps on a logarithmic axis."""
    width, height, left, top, right, bottom = 760, 460, 80, 40, 190, 50
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    steps = sorted({step for by_steps in methods.values() for step in by_steps})
    top_value = max(one[column] for by_steps in methods.values() for one in by_steps.values()) * 1.08 or 1.0
    low, high = np.log(steps[0]), np.log(steps[-1]) if len(steps) > 1 else np.log(steps[0]) + 1
    x = lambda step: left + (np.log(step) - low) / (high - low) * (width - left - right)  # noqa: E731
    y = lambda value: height - bottom - value / top_value * (height - top - bottom)  # noqa: E731
    for share in np.linspace(0, 1, 6):
        pen.line([(left, y(share * top_value)), (width - right, y(share * top_value))], fill=(225, 225, 225))
        pen.text((8, y(share * top_value) - 6), f"{share * top_value:.3g}", fill=(24, 24, 24))
    for step in steps:
        pen.text((x(step) - 8, height - bottom + 8), str(step), fill=(24, 24, 24))
    pen.text((left, 12), title, fill=(24, 24, 24))
    pen.text(((left + width - right) / 2 - 40, height - 22), "training steps", fill=(24, 24, 24))
    for k, (name, by_steps) in enumerate(methods.items()):
        colour = COLOURS[ORDER.index(name)]
        points = [(x(step), y(one[column])) for step, one in by_steps.items()]
        pen.line(points, fill=colour, width=3)
        for px, py in points:
            pen.ellipse([px - 4, py - 4, px + 4, py + 4], fill=colour)
        pen.line([(width - right + 14, top + 20 * k + 6), (width - right + 34, top + 20 * k + 6)], fill=colour, width=3)
        pen.text((width - right + 40, top + 20 * k), name.replace("_", " "), fill=(24, 24, 24))
    picture.save(file, optimize=True)


def sheet(work: Path, results: list[dict], steps: int, file: Path) -> None:
    """A row for each concept and method: the first sample of every prompt, after the concept's own first picture."""
    rows = [one for one in results if one["steps"] == steps]
    rows.sort(key=lambda one: (one["concept"], ORDER.index(one["method"])))
    lines = []
    for one in rows:
        pictures = np.load(work / one["concept"] / one["method"] / f"{steps:04}" / "pictures.npy")
        concept = common.Concept.open(common.paths.CONCEPTS / one["concept"])
        count = len(concept.content["evaluation_prompts"])
        firsts = [-(-k * len(pictures) // count) for k in range(count)]
        lines.append((one, [concept.pictures("pictures")[0][0], *(pictures[k] for k in firsts)]))
    side, gap, head = 128, 6, 18
    columns = max(len(pictures) for _, pictures in lines)
    canvas = Image.new("RGB", (gap + columns * (side + gap), gap + len(lines) * (side + gap + head)), "white")
    pen = ImageDraw.Draw(canvas)
    for row, (one, pictures) in enumerate(lines):
        top = gap + row * (side + gap + head)
        pen.text((gap, top), f"{one['concept']}: {one['method']}, {steps} steps (first: what was learned)".replace("_", " "), fill=(24, 24, 24))
        for column, picture in enumerate(pictures):
            canvas.paste(Image.fromarray(picture).resize((side, side)), (gap + column * (side + gap), top + head))
    canvas.save(file, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=common.WORK)
    parser.add_argument("--steps", type=int, help="of the table and the sheet [default: the largest number]")
    a = parser.parse_args()
    results = list(json.loads((a.work / "results.json").read_text()).values())
    methods = grouped(results)
    steps = a.steps or max(one["steps"] for one in results)
    text = table(methods, steps)
    print(text)
    (a.work / "table1.md").write_text(text)
    plot(methods, "wasserstein_squared", "2-Wasserstein distance, squared (figure 9)", a.work / "figure9.png")
    plot(methods, "fisher", "latent Fisher divergence (figure 10)", a.work / "figure10.png")
    sheet(a.work, results, steps, a.work / "figure7.png")
    print(f"figures: {a.work}")


if __name__ == "__main__":
    main()
