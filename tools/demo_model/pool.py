"""The training pool: scenes drawn once, encoded once by the autoencoder, each with several tokenised captions."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

import captions
import grounding
import networks
import world
from vae import to_pixels

CAPTIONS_EACH = 6
CHUNK = 1000
WINDOW = 8


@dataclasses.dataclass(frozen=True)
class Batch:
    """Sampled latents [B, 4, h, w], token ids and what they name [B, 77], and what covers each cell [B, 3, h, w]."""

    latents: torch.Tensor
    tokens: torch.Tensor
    labels: torch.Tensor
    covers: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Pool:
    """Latent means and deviations, scaled, [N, 4, h, w], token ids and what they name [N, CAPTIONS_EACH, 77], where.

    `centre` [N, 2] holds x and y as fractions for scenes of one object and NaN for the others; `covers`
    [N, 3, h, w] holds 255ths of each cell that the things and the ground cover (see grounding.py).
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    tokens: torch.Tensor
    labels: torch.Tensor
    centre: torch.Tensor
    covers: torch.Tensor

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """Half of it scenes of two objects, the other half any."""
        pairs = self.covers[:, 1].flatten(1).any(1).nonzero()[:, 0]
        chosen = pairs[torch.randint(len(pairs), (size // 2,), generator=generator)]
        others = torch.randint(len(self.mean), (size - size // 2,), generator=generator)
        return self.sampled(torch.cat([chosen, others]), generator)

    def windows(self, size: int, generator: torch.Generator) -> Batch:
        """Windows of WINDOW cells about the object of one-object scenes: cheap, and nearly all object."""
        single = (~self.centre[:, 0].isnan()).nonzero()[:, 0]
        chosen = single[torch.randint(len(single), (size,), generator=generator)]
        whole = self.sampled(chosen, generator)
        cells = whole.latents.shape[-1]
        shift = torch.randint(-1, 2, (size, 2), generator=generator)
        corners = ((self.centre[chosen] * cells).round().long() - WINDOW // 2 + shift).clamp(0, cells - WINDOW)

        def cut(maps: torch.Tensor) -> torch.Tensor:
            return torch.stack([m[:, y : y + WINDOW, x : x + WINDOW] for m, (x, y) in zip(maps, corners.tolist())])

        return dataclasses.replace(whole, latents=cut(whole.latents), covers=cut(whole.covers))

    def sampled(self, chosen: torch.Tensor, generator: torch.Generator) -> Batch:
        worded = torch.randint(CAPTIONS_EACH, (len(chosen),), generator=generator)
        mean, deviation = self.mean[chosen].float(), self.deviation[chosen].float()
        latents = mean + deviation * torch.randn(mean.shape, generator=generator)
        covers = self.covers[chosen].float() / 255
        return Batch(latents, self.tokens[chosen, worded].long(), self.labels[chosen, worded], covers)


def centre(scene: world.Scene) -> tuple[float, float]:
    return (scene.things[0].x, scene.things[0].y) if len(scene.things) == 1 else (float("nan"), float("nan"))


def build_chunk(file: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, side: int, seed: list[int]) -> None:
    rng = np.random.default_rng(seed)
    scenes = [world.random_scene(rng) for _ in range(CHUNK)]
    means, deviations = [], []
    with torch.no_grad():
        for first in range(0, CHUNK, 50):
            pixels = to_pixels(world.render(scenes[first : first + 50], side))
            posterior = vae.encode(pixels).latent_dist
            means.append((posterior.mean * vae.config.scaling_factor).half())
            deviations.append((posterior.std * vae.config.scaling_factor).half())
    worded = [(scene, captions.caption(scene, rng)) for scene in scenes for _ in range(CAPTIONS_EACH)]
    tokens = networks.token_ids(tokenizer, [text for _, text in worded]).short().reshape(CHUNK, CAPTIONS_EACH, 77)
    count = functools.cache(lambda word: len(tokenizer.tokenize(word)))
    labels = torch.stack([grounding.labels(text, scene, count) for scene, text in worded])
    covers = torch.stack([grounding.cover(scene, side, side // 8) for scene in scenes])
    part = file.with_suffix(".part")
    centres = torch.tensor([centre(scene) for scene in scenes])
    latents = {"mean": torch.cat(means), "deviation": torch.cat(deviations)}
    words = {"tokens": tokens, "labels": labels.reshape(tokens.shape)}
    torch.save({**latents, **words, "centre": centres, "covers": (covers * 255).round().byte()}, part)
    part.rename(file)


def build_pool(folder: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, side: int, scenes: int, seed: int = 2) -> None:
    """Draw and encode `scenes` pictures of `side` pixels, in files of 1000; what is there already is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for chunk in range(scenes // CHUNK):
        file = folder / f"{chunk:03}.pt"
        if not file.exists():
            build_chunk(file, vae, tokenizer, side, [seed, side, chunk])
            print(f"pool {side}: {(chunk + 1) * CHUNK}/{scenes}", flush=True)


def load_pool(folder: Path) -> Pool:
    chunks = [torch.load(file, weights_only=True) for file in sorted(folder.glob("*.pt"))]
    if not chunks:
        raise FileNotFoundError(f"no encoded scenes in {folder}: build the pool first")
    return Pool(**{field.name: torch.cat([chunk[field.name] for chunk in chunks]) for field in dataclasses.fields(Pool)})
