"""Score what train.py made: a scored-….json beside each export.

The judge of tools/demo_model stands for CLIP-T (is the ground that the prompt asks for there, and the class?) and for
CLIP-I and DINO (does the picture show the concept's look?), which have no meaning on this world. W2 and the latent
Fisher divergence are those of `infusion eval`. What is scored already is left. Means come with their standard errors.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

import common
import draw
import captions
import concepts as looks
import judge
import world

PAIRS = 64


def write_pairs(folder: Path, word: str, count: int) -> Path:
    """Pictures of the world and captions that do not name the concept's class."""
    if (folder / "metadata.jsonl").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rng, lines = np.random.default_rng(5), []
    while len(lines) < count:
        scene = world.random_scene(rng, "one")
        caption = captions.caption(scene, rng)
        if word not in caption and caption:
            name = f"{len(lines):04}.png"
            Image.fromarray(world.render([scene], draw.SIDE)[0]).save(folder / name)
            lines.append(json.dumps({"file_name": name, "text": caption}))
    common.write_whole(folder / "metadata.jsonl", "\n".join(lines) + "\n")
    return folder


def judged(pictures: np.ndarray, prompts: list[str], concept: common.Concept) -> dict[str, float]:
    """Means over the pictures, each with its standard error as `…_error`."""
    look = looks.Look(**concept.content["look"])
    seen = [looks.shows_look(picture, look) for picture in pictures]
    ground = np.array([judge.judge(picture, prompt).background for picture, prompt in zip(pictures, prompts)], float)
    shape = np.array([parts["shape"] for parts in seen], float)
    each = {
        "prompt": (ground + shape) / 2,
        "ground": ground,
        "shape": shape,
        "look": np.array([(parts["upper"] + parts["lower"]) / 2 for parts in seen]),
    }
    means = {name: float(values.mean()) for name, values in each.items()}
    return means | {f"{name}_error": float(values.std(ddof=1) / len(values) ** 0.5) for name, values in each.items()}


class Scorer:
    def __init__(self, model: Path, concept: common.Concept, work: Path, budget: draw.Budget):
        self.model, self.concept, self.work, self.budget = model, concept, work, budget
        self.prompts = concept.content["evaluation_prompts"]
        self.pairs = write_pairs(work / concept.name / "pairs", concept.word, PAIRS)
        self.original = work / concept.name / f"original-{budget.samples}-{budget.inference_steps}.safetensors"
        if not self.original.exists():
            draw.save_latents(draw.latents(model, self.prompts, budget), self.original)

    def score(self, folder: Path) -> dict:
        trained = json.loads((folder / "trained.json").read_text())
        concept_file = folder / "concept.safetensors"
        if concept_file.exists():
            drawn = draw.infusion_latents(self.model, concept_file, self.concept.word, self.prompts, self.budget, folder)
            subject = ("--concept", concept_file, "--force")
        else:
            drawn = draw.latents(folder, [trained["prompts"][plain] for plain in self.prompts], self.budget)
            subject = ("--unet", folder / "unet/model.onnx")
        customised = draw.save_latents(drawn, folder / "customised.safetensors")
        pictures = draw.decode(self.model, drawn)
        np.save(folder / "pictures.npy", pictures)
        run = self.budget.program
        distance = draw.run(run, "wasserstein", self.original, customised, "--threads", 1)["distance"]
        fisher = draw.run(
            run, "fisher", "--model", self.model, "--pairs", self.pairs, *subject, "--size", draw.SIDE, "--threads", 1, "--quiet"
        )
        return {
            **{key: trained[key] for key in ("method", "concept", "steps", "bytes")},
            "samples": self.budget.samples,
            "inference_steps": self.budget.inference_steps,
            "wasserstein_squared": distance["squared"],
            "fisher": fisher["divergence"],
            "fisher_error": fisher["standard_error"],
            **judged(pictures, draw.rows(self.prompts, self.budget.samples), self.concept),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=common.paths.MODEL)
    parser.add_argument("--work", type=Path, default=common.WORK)
    parser.add_argument("--program", type=Path, default=common.paths.REPOSITORY / "target/release/infusion")
    parser.add_argument("--concepts", type=common.names, help="[default: all that were trained]")
    parser.add_argument("--methods", type=common.names, help="[default: all that were trained]")
    parser.add_argument("--samples", type=int, default=common.SAMPLES, help="of each export, over the evaluation prompts")
    parser.add_argument("--inference-steps", type=int, default=common.INFERENCE_STEPS)
    a = parser.parse_args()
    budget = draw.Budget(a.samples, a.inference_steps, a.program)
    scorers: dict[str, Scorer] = {}
    for trained in sorted(a.work.glob("*/*/*/trained.json")):
        concept, method = trained.parts[-4:-2]
        scored = trained.with_name(f"scored-{a.samples}-{a.inference_steps}.json")
        unwanted = (a.concepts and concept not in a.concepts) or (a.methods and method not in a.methods)
        if unwanted or scored.exists():
            continue
        if concept not in scorers:
            scorers[concept] = Scorer(a.model, common.Concept.open(common.paths.CONCEPTS / concept), a.work, budget)
        result = scorers[concept].score(trained.parent)
        common.write_whole(scored, json.dumps(result, indent=1) + "\n")
        told = {name: round(result[name], 3) for name in ("prompt", "look", "wasserstein_squared", "fisher")}
        print(f"{trained.parent.relative_to(a.work)}: {told}", flush=True)


if __name__ == "__main__":
    main()
