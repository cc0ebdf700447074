"""Print the paper's Table 1 and draw its figures 7, 9 and 10 from what score.py found, under target/comparison/results.

table1.md: means over the concepts with standard errors, and where Infusion stands in each column. figure9.png: W2 against
steps; figure10.png: latent Fisher divergence against steps; figure7.png: a picture of each method on each ground. The
judge's scores stand where the paper has CLIP and DINO. figure8.png is mix.py's.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import common
from draw import GUIDANCE

COLOURS = [(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (24, 24, 24)]
ORDER = ["textual_inversion", "dreambooth", "dreambooth_lora", "custom_diffusion", "perfusion", "infusion"]


MEANS = ("prompt", "ground", "shape", "look", "wasserstein_squared", "fisher", "bytes")
ERRORS = ("prompt", "look", "fisher")
# What a column is called, and whether more of it is better.
COLUMNS = {
    "prompt": ("prompt", True), "look": ("look", True), "wasserstein_squared": ("W2²", False),
    "fisher": ("Fisher", False), "bytes": ("bytes", False),
}  # fmt: skip

Methods = dict[str, dict[int, dict[str, float]]]


def grouped(results: list[dict]) -> Methods:
    """method → steps → means over concepts, and their standard errors as `…_error`."""
    found = defaultdict(lambda: defaultdict(list))
    for result in results:
        found[result["method"]][result["steps"]].append(result)

    def mean(part: list[dict]) -> dict[str, float]:
        means = {column: float(np.mean([one[column] for one in part])) for column in MEANS}
        errors = {f"{column}_error": [one[f"{column}_error"] for one in part] for column in ERRORS}
        return means | {name: float(np.sqrt(np.square(values).sum()) / len(values)) for name, values in errors.items()}

    return {name: {steps: mean(part) for steps, part in sorted(found[name].items())} for name in ORDER if name in found}


def table(methods: Methods, steps: int) -> str:
    lines = [f"| after {steps} steps | prompt | ground, shape | look | W2² | Fisher | bytes |", "|---|---|---|---|---|---|---|"]
    for name, by_steps in methods.items():
        if steps not in by_steps:
            continue
        one = by_steps[steps]
        shares = [f"{one[column]:.3f} ± {one[f'{column}_error']:.3f}" for column in ("prompt", "look")]
        fisher = f"{one['fisher']:.4f} ± {one['fisher_error']:.4f}"
        parts = f"{one['ground']:.2f}, {one['shape']:.2f}"
        distance = f"{one['wasserstein_squared']:.2f}"
        cells = [name.replace("_", " "), shares[0], parts, shares[1], distance, fisher, f"{one['bytes']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def standing(methods: Methods, steps: int) -> str:
    """Who leads in each column, and the place of Infusion, be it good or bad."""
    here = {name: by_steps[steps] for name, by_steps in methods.items() if steps in by_steps}
    lines = []
    for column, (title, more_is_better) in COLUMNS.items():
        order = sorted(here, key=lambda name: here[name][column], reverse=more_is_better)
        leader = f"{order[0].replace('_', ' ')} leads with {here[order[0]][column]:.4g}"
        if "infusion" in here and order[0] != "infusion":
            place = 1 + sum(here[name][column] != here["infusion"][column] for name in order[: order.index("infusion")])
            leader += f"; Infusion is number {place} of {len(order)} with {here['infusion'][column]:.4g}"
        lines.append(f"- {title}: {leader}.")
    return "\n".join(lines) + "\n"


def plot(methods: Methods, column: str, title: str, file: Path) -> None:
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


def read(work: Path, samples: int, inference_steps: int) -> list[dict]:
    files = sorted(work.glob(f"*/*/*/scored-{samples}-{inference_steps}.json"))
    if not files:
        raise SystemExit(f"{work}: nothing is scored with {samples} samples of {inference_steps} steps; run score.py")
    return [json.loads(file.read_text()) for file in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=common.WORK)
    parser.add_argument("--steps", type=int, help="of the table and the sheet [default: the largest number]")
    parser.add_argument("--concepts", type=common.names, help="[default: all that are scored, whole or not]")
    parser.add_argument("--samples", type=int, default=common.SAMPLES)
    parser.add_argument("--inference-steps", type=int, default=common.INFERENCE_STEPS)
    a = parser.parse_args()
    results, target = read(a.work, a.samples, a.inference_steps), a.work / "results"
    results = [one for one in results if not a.concepts or one["concept"] in a.concepts]
    target.mkdir(exist_ok=True)
    (target / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    methods = grouped(results)
    steps = a.steps or max(one["steps"] for one in results)
    concepts = sorted({one["concept"] for one in results})
    basis = f"Means over {', '.join(concepts)}; {a.samples} samples of each, {a.inference_steps} DDIM steps, guidance {GUIDANCE:g}; ± one standard error.\n"
    text = "\n".join([table(methods, steps), basis, standing(methods, steps)])
    print(text)
    (target / "table1.md").write_text(text)
    plot(methods, "wasserstein_squared", "2-Wasserstein distance, squared (figure 9)", target / "figure9.png")
    plot(methods, "fisher", "latent Fisher divergence (figure 10)", target / "figure10.png")
    sheet(a.work, results, steps, target / "figure7.png")
    print(f"figures: {target}")


if __name__ == "__main__":
    main()
