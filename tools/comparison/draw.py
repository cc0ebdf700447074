"""Latents and pictures of trained methods, from the noise of seeds 0, 1, …: the same for all."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

import common  # noqa: F401  (finds tools/demo_model)
from sampler import GUIDANCE, Sampler
from vae import to_bytes

SIDE, BATCH = 128, 8


class Budget:
    """How many samples, and how they are drawn."""

    def __init__(self, samples: int, inference_steps: int, program: Path):
        self.samples, self.inference_steps, self.program = samples, inference_steps, program


def rows(prompts: list[str], samples: int) -> list[str]:
    """A prompt for each sample: every prompt has a run of them, as `infusion eval wasserstein` draws."""
    return [prompts[k * len(prompts) // samples] for k in range(samples)]


def latents(folder: Path, prompts: list[str], budget: Budget) -> np.ndarray:
    """Of a pipeline's folder [N, 4, h, w], by diffusers' DDIM on ONNX Runtime."""
    sampler, drawn = Sampler(folder), []
    asked = rows(prompts, budget.samples)
    for first in range(0, budget.samples, BATCH):
        part = asked[first : first + BATCH]
        seeds = list(range(first, first + len(part)))
        drawn.append(sampler.latents(part, seeds, budget.inference_steps, GUIDANCE, SIDE).numpy())
    return np.concatenate(drawn)


def infusion_latents(model: Path, concept: Path, word: str, prompts: list[str], budget: Budget, work: Path) -> np.ndarray:
    """Of a concept file, by this project's own program."""
    lines = work / "prompts.txt"
    lines.write_text("".join(prompt.replace(word, "<concept>") + "\n" for prompt in prompts))
    run(
        budget.program, "wasserstein", "--model", model, "--concept", f"concept={concept}", "--prompts", lines,
        "--samples", budget.samples, "--steps", budget.inference_steps, "--guidance-scale", GUIDANCE, "--size", SIDE,
        "--batch", BATCH, "--threads", 1, "--keep", work / f"drawn-{budget.samples}-{budget.inference_steps}",
        "--no-floor", "--force", "--quiet",
    )  # fmt: skip
    files = sorted((work / f"drawn-{budget.samples}-{budget.inference_steps}").glob("customised-*.safetensors"))
    return np.concatenate([load_file(file)["latents"] for file in files])


def run(program: Path, *arguments) -> dict:
    command = [str(program), "eval", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def save_latents(drawn: np.ndarray, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    save_file({"latents": np.ascontiguousarray(drawn, np.float32)}, unfinished)
    return unfinished.replace(file)


def decode(model: Path, drawn: np.ndarray) -> np.ndarray:
    """Pictures [N, side, side, 3] of bytes."""
    decoder = Sampler(model).vae_decoder
    decoded = [decoder.run(None, {"latent_sample": drawn[k : k + 1] / 0.18215})[0] for k in range(len(drawn))]
    return to_bytes(torch.from_numpy(np.concatenate(decoded)))
