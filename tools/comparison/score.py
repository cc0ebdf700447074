"""Score what train.py made: results.json under target/comparison.

The judge of tools/demo_model stands for CLIP-T (is the ground that the prompt asks for there, and the class?) and for
CLIP-I and DINO (does the picture show the concept's look?), which have no meaning on this world. W2 and the latent
Fisher divergence are those of `infusion eval`. What is scored already is left.
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
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def judged(pictures: np.ndarray, prompts: list[str], concept: common.Concept) -> dict[str, float]:
    look = looks.Look(**concept.content["look"])
    seen = [looks.shows_look(picture, look) for picture in pictures]
    grounds = [judge.judge(picture, prompt).background for picture, prompt in zip(pictures, prompts)]
    shape = float(np.mean([parts["shape"] for parts in seen]))
    return {
        "prompt": (float(np.mean(grounds)) + shape) / 2,
        "ground": float(np.mean(grounds)),
        "shape": shape,
        "look": float(np.mean([(parts["upper"] + parts["lower"]) / 2 for parts in seen])),
    }


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
        distance = draw.run(self.budget.program, "wasserstein", self.original, customised)["distance"]
        fisher = draw.run(self.budget.program, "fisher", "--model", self.model, "--pairs", self.pairs, *subject, "--size", draw.SIDE, "--quiet")
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
    parser.add_argument("--samples", type=int, default=160, help="of each method, over the evaluation prompts")
    parser.add_argument("--inference-steps", type=int, default=50)
    a = parser.parse_args()
    budget, file = draw.Budget(a.samples, a.inference_steps, a.program), a.work / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for trained in sorted(a.work.glob("*/*/*/trained.json")):
        key = f"{trained.parent.relative_to(a.work)} {a.samples} {a.inference_steps}"
        if key in results:
            continue
        concept = common.Concept.open(common.paths.CONCEPTS / trained.parts[-4])
        results[key] = Scorer(a.model, concept, a.work, budget).score(trained.parent)
        print(key, {name: round(results[key][name], 3) for name in ("prompt", "look", "wasserstein_squared", "fisher")}, flush=True)
        file.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
