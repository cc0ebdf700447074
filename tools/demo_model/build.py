"""Rebuild the demo model: `python tools/demo_model/build.py`. Every stage has a fixed seed and resumes where it stopped.

Stages, in order: tokenizer, vae, pool_small, learn, refine, pool, windows, whole, both, export, concepts, evaluate.
`--stage NAME` runs one of them. Work files go to target/demo-model, the model to models/demo. About six hours on one
core; set `--threads` to the cores that are free, since a busy core makes more threads slower, not faster.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

import concepts
import evaluate
import export
import judge
import paths
import pool
import refine
import sampler
import tokenizer
import train
import vae

LEARN = train.Stage("learn", "pool_64", 2400, 32, 0, 1.5e-3, 1.3e-3)
WINDOWS = train.Stage("windows", "pool_128", 3000, 10, 32, 1.2e-3, 9e-4)
WHOLE = train.Stage("whole", "pool_128", 6000, 14, 0, 1e-3, 2e-5)
BOTH = train.Stage("both", "pool_128", 9000, 14, 24, 1e-3, 1.5e-5)


class Build:
    """The stages as methods; `work` holds what they leave for each other."""

    def __init__(self, work: Path, target: Path):
        self.work, self.target = work, target
        work.mkdir(parents=True, exist_ok=True)

    def words(self) -> CLIPTokenizer:
        return CLIPTokenizer.from_pretrained(self.work / "tokenizer")

    def autoencoder(self, name: str) -> AutoencoderKL:
        return AutoencoderKL.from_pretrained(self.work / name).eval()

    def tokenizer(self) -> None:
        tokenizer.build_tokenizer(self.work / "tokenizer")

    def vae(self) -> None:
        vae.train_vae(self.work)

    def pool_small(self) -> None:
        pool.build_pool(self.work / "pool_64", self.autoencoder("vae"), self.words(), 64, 18_000)

    def learn(self) -> None:
        train.train_stage(self.work, self.words(), LEARN, None)

    def refine(self) -> None:
        refine.refine(self.work / "vae", self.work / "vae_refined")

    def pool(self) -> None:
        pool.build_pool(self.work / "pool_128", self.autoencoder("vae_refined"), self.words(), 128, 14_000)

    def windows(self) -> None:
        train.train_stage(self.work, self.words(), WINDOWS, self.work / "learn.pt")

    def whole(self) -> None:
        train.train_stage(self.work, self.words(), WHOLE, self.work / "windows.pt")

    def both(self) -> None:
        train.train_stage(self.work, self.words(), BOTH, self.work / "whole.pt")

    def export(self) -> None:
        trained = train.averaged(self.work / "both.pt", self.words())
        final, words = self.autoencoder("vae_refined"), self.work / "tokenizer"
        export.export_all(trained, final, words, self.target, self.work / "diffusers")

    def concepts(self) -> None:
        for look in concepts.LOOKS:
            concepts.write_concept(look, paths.CONCEPTS / look.name)

    def evaluate(self) -> None:
        print("judge on rendered scenes:", judge.self_test(600, 77))
        settings = {"steps": 30, "guidance": sampler.GUIDANCE, "side": 128, "threads": torch.get_num_threads()}
        print(evaluate.evaluate(self.target, self.target / "samples.png", settings, 200, 60, 60))


STAGES = (
    "tokenizer",
    "vae",
    "pool_small",
    "learn",
    "refine",
    "pool",
    "windows",
    "whole",
    "both",
    "export",
    "concepts",
    "evaluate",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=STAGES, help="run only this stage")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=paths.WORK)
    parser.add_argument("--target", type=Path, default=paths.MODEL)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    build = Build(arguments.work, arguments.target)
    for stage in (arguments.stage,) if arguments.stage else STAGES:
        print(f"== {stage}", flush=True)
        getattr(build, stage)()


if __name__ == "__main__":
    main()
