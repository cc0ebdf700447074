"""Score a concept file by pictures that `infusion generate` makes: is the look there, and did the ground stay?

    tools/demo_model/judge_concept.py models/concepts/two_tone_ball [--file ball.safetensors] [--pictures 40]

Draws the concept's evaluation prompts, whose grounds it was never trained on, with and without it, and reads the
pixels (judge.py, concepts.py). Prints shares; fails below the project's bounds: the look in 80 % of the pictures,
the ground in 90 %. Takes a second or two a picture.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import concepts
import judge
import paths

LOOK, GROUND = 0.8, 0.9
# Guidance multiplies what a concept does, too: less of it suits a concept than a colour word.
GUIDANCE = 2.0
# As in training, F looks at C's own latents: its maps then fit what C draws. With `separate` fewer pictures show the look.
STREAMS = "shared"
STRENGTH = 1.2


def draw(arguments: argparse.Namespace, cls: str, prompt: str, count: int, folder: Path) -> dict[str, list[np.ndarray]]:
    """Pictures with the concept ("image") and those of F alone, by kind."""
    marked = prompt.replace(f" {cls} ", f" <{cls}> ")
    command = [
        str(arguments.infusion), "generate", marked, "--model", str(arguments.model), "--batch", str(count),
        "--concept", f"{cls}={arguments.file}:{arguments.strength}", "--steps", str(arguments.steps), "--seed", str(arguments.seed),
        "--guidance-scale", str(arguments.guidance), "--streams", arguments.streams,
        "-o", str(folder / "c.png"), "--foundation", str(folder / "f.png"), "--overwrite", "--json",
    ]  # fmt: skip
    if arguments.threads:
        command += ["--threads", str(arguments.threads)]
    files = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)["files"]
    read = lambda path: np.asarray(Image.open(path).convert("RGB"))  # noqa: E731
    found = {"C": [], "F": []}
    for file in files:
        found["F" if Path(file["file"]).name.startswith("f") else "C"].append(read(file["file"]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("concept", type=Path, help="a folder of models/concepts")
    parser.add_argument("--file", type=Path, help="the concept file; by default the folder's name .safetensors")
    parser.add_argument("--model", type=Path, default=paths.MODEL)
    parser.add_argument("--infusion", type=Path, default=paths.MODEL.parent.parent / "target/release/infusion")
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--streams", choices=("separate", "shared"), default=STREAMS)
    parser.add_argument("--strength", type=float, default=STRENGTH)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    arguments.file = arguments.file or arguments.concept.with_suffix(".safetensors")
    content = json.loads((arguments.concept / "prompts.json").read_text())
    look, prompts = concepts.Look(**content["look"]), content["evaluation_prompts"]
    seen = {"C": [], "F": []}
    for prompt in prompts:
        with tempfile.TemporaryDirectory() as folder:
            drawn = draw(arguments, content["class"], prompt, -(-arguments.pictures // len(prompts)), Path(folder))
        for kind, pictures in drawn.items():
            for picture in pictures:
                parts = concepts.shows_look(picture, look)
                seen[kind].append(parts | {"ground": judge.judge(picture, prompt).background})
    shares = {kind: summary(verdicts) for kind, verdicts in seen.items()}
    for kind, share in shares.items():
        text = "  ".join(f"{part} {value:.0%}" for part, value in share.items())
        print(f"{look.name} {kind}, {len(seen[kind])} pictures: {text}", flush=True)
    if shares["C"]["both colours"] < LOOK or shares["C"]["ground"] < GROUND:
        raise SystemExit(f"below the bounds: both colours in {LOOK:.0%}, the ground in {GROUND:.0%}")


def summary(verdicts: list[dict[str, bool]]) -> dict[str, float]:
    shares = {part: np.mean([verdict[part] for verdict in verdicts]) for part in verdicts[0]}
    return shares | {"both colours": np.mean([verdict["upper"] and verdict["lower"] for verdict in verdicts])}


if __name__ == "__main__":
    main()
