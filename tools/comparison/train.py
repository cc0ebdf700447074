"""Train every method on every concept and export each at every number of steps, under target/comparison.

    train.py [--steps 50,100,200,400,1000,2000] [--methods ...] [--concepts ...]

Exports are pipelines in ONNX (Infusion: a concept file). What is there already is left; README.md says what a run takes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

import common
from custom_diffusion import CustomDiffusion
from dreambooth import DreamBooth
from infusion import Infusion
from lora import Lora
from perfusion import Perfusion
from textual_inversion import TextualInversion

METHODS = {method.name: method for method in (TextualInversion, DreamBooth, Lora, CustomDiffusion, Perfusion, Infusion)}
STEPS = "50,100,200,400,1000,2000"


def place(work: Path, concept: str, method: str, step: int) -> Path:
    return work / concept / method / f"{step:04}"


def train(work: Path, model: common.Model, concept: common.Concept, kind: type, steps: list[int], batch: int, seed: int):
    if all((place(work, concept.name, kind.name, step) / "trained.json").exists() for step in steps):
        return
    began, method = time.monotonic(), kind(model.fresh(), concept)

    def at_step(step: int) -> None:
        folder = place(work, concept.name, kind.name, step)
        method.export(folder)
        described = {
            "method": kind.name, "source": kind.source, "concept": concept.name, "steps": step, "rate": kind.rate,
            "batch": batch, "seed": seed, "bytes": common.storage(method.stored()),
            "prompts": {plain: method.prompt(plain) for plain in concept.content["evaluation_prompts"]},
        }  # fmt: skip
        common.write_whole(folder / "trained.json", json.dumps(described, indent=1) + "\n")

    losses = common.fit(method, steps, batch, seed, at_step)
    last = sum(losses[-20:]) / len(losses[-20:])
    print(f"{concept.name} {kind.name}: loss {last:.4f}, {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=common.paths.MODEL)
    parser.add_argument("--work", type=Path, default=common.WORK)
    parser.add_argument("--steps", default=STEPS)
    parser.add_argument("--methods", type=common.names, default=list(METHODS))
    parser.add_argument("--concepts", type=common.names, default=list(common.CONCEPTS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    model, steps = common.Model(a.model), [int(step) for step in a.steps.split(",")]
    for name in a.concepts:
        for method in a.methods:
            train(a.work, model, common.Concept.open(common.paths.CONCEPTS / name), METHODS[method], steps, a.batch, a.seed)


if __name__ == "__main__":
    main()
