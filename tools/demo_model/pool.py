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
ENCODED_AT_ONCE = 100
DESCRIBED = 0.5


@dataclasses.dataclass(frozen=True)
class Batch:
    """Sampled latents [B, 4, h, w], token ids and what they name [B, 77], and what covers each cell [B, 3, h, w].

    `described` and `described_labels` are another caption of each scene, or the same one: its nouns' values are used.
    """

    latents: torch.Tensor
    tokens: torch.Tensor
    labels: torch.Tensor
    covers: torch.Tensor
    described: torch.Tensor
    described_labels: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Pool:
    """Latent means and deviations, scaled, [N, 4, h, w], token ids and what they name [N, CAPTIONS_EACH, 77], where.

    `centre` [N, 2] holds x and y as fractions for scenes of one object and NaN for the others; `covers`
    [N, 3, h, w] holds 255ths of each cell that the things and the ground cover (see grounding.py); `kind` [N] is a
    place in world.KINDS. `coloured` [N, CAPTIONS_EACH] says which captions name colours.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    tokens: torch.Tensor
    labels: torch.Tensor
    centre: torch.Tensor
    covers: torch.Tensor
    kind: torch.Tensor
    coloured: torch.Tensor

    @functools.cached_property
    def places(self) -> dict[str, torch.Tensor]:
        """Where the scenes of each kind are."""
        return {name: (self.kind == number).nonzero()[:, 0] for number, name in enumerate(world.KINDS)}

    def some(self, kind: str, count: int, generator: torch.Generator) -> torch.Tensor:
        places = self.places[kind]
        return places[torch.randint(len(places), (count,), generator=generator, device=generator.device)]

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """A third of it scenes of two objects, a third objects of two colours: both are slow to learn. Any others."""
        hard = [self.some(kind, size // 3, generator) for kind in ("two", "two-tone")]
        others = (size - 2 * (size // 3),)
        rest = torch.randint(len(self.mean), others, generator=generator, device=generator.device)
        return self.sampled(torch.cat([*hard, rest]), generator)

    def windows(self, size: int, generator: torch.Generator) -> Batch:
        """Windows of WINDOW cells about one object, two in three of two colours: cheap, and nearly all object."""
        toned = 2 * size // 3
        chosen = torch.cat([self.some("two-tone", toned, generator), self.some("one", size - toned, generator)])
        whole = self.sampled(chosen, generator)
        cells = whole.latents.shape[-1]
        shift = torch.randint(-1, 2, (size, 2), generator=generator)
        corners = ((self.centre[chosen] * cells).round().long() - WINDOW // 2 + shift).clamp(0, cells - WINDOW)

        def cut(maps: torch.Tensor) -> torch.Tensor:
            return torch.stack([m[:, y : y + WINDOW, x : x + WINDOW] for m, (x, y) in zip(maps, corners.tolist())])

        return dataclasses.replace(whole, latents=cut(whole.latents), covers=cut(whole.covers))

    def sampled(self, chosen: torch.Tensor, generator: torch.Generator) -> Batch:
        mean, deviation = self.mean[chosen].float(), self.deviation[chosen].float()
        latents = mean + deviation * torch.randn(mean.shape, generator=generator, device=generator.device)
        covers = self.covers[chosen].float() / 255
        words, labels = self.tokens[chosen], self.labels[chosen]
        plain, described = self.captions(self.coloured[chosen], (labels == 1).any(-1), generator)
        rows = torch.arange(len(chosen), device=generator.device)
        return Batch(
            latents,
            words[rows, plain].long(),
            labels[rows, plain],
            covers,
            words[rows, described].long(),
            labels[rows, described],
        )

    def captions(self, coloured: torch.Tensor, named: torch.Tensor, generator: torch.Generator):
        """Which caption is read, and which one's nouns say how the things look.

        A share of DESCRIBED reads one without colours beside nouns of one with them, where there are both.
        """
        drawn = torch.rand(coloured.shape, generator=generator, device=generator.device)
        free = (drawn + 2 * (named & ~coloured)).argmax(1)
        full = (drawn + 2 * (named & coloured)).argmax(1)
        any_of = drawn.argmax(1)
        chosen = torch.rand(len(coloured), generator=generator, device=generator.device) < DESCRIBED
        chosen &= (named & coloured).any(1) & (named & ~coloured).any(1)
        return torch.where(chosen, free, any_of), torch.where(chosen, full, any_of)


def centre(scene: world.Scene) -> tuple[float, float]:
    return (scene.things[0].x, scene.things[0].y) if len(scene.things) == 1 else (float("nan"), float("nan"))


def kind(scene: world.Scene) -> int:
    name = ("none", "one", "two")[len(scene.things)]
    return list(world.KINDS).index("two-tone" if scene.things and scene.things[0].lower else name)


def named_colours(text: str) -> set[str]:
    return set(world.COLOURS) & set(text.split())


def draw_chunk(tokenizer: CLIPTokenizer, side: int, seed: list[int]) -> dict[str, torch.Tensor]:
    """CHUNK scenes as `pixels`, bytes [CHUNK, side, side, 3], with all of a Pool that is not latents."""
    rng = np.random.default_rng(seed)
    scenes = [world.random_scene(rng) for _ in range(CHUNK)]
    worded = [(scene, captions.caption(scene, rng)) for scene in scenes for _ in range(CAPTIONS_EACH)]
    tokens = networks.token_ids(tokenizer, [text for _, text in worded]).short().reshape(CHUNK, CAPTIONS_EACH, 77)
    count = functools.cache(lambda word: len(tokenizer.tokenize(word)))
    labels = torch.stack([grounding.labels(text, scene, count) for scene, text in worded])
    covers = torch.stack([grounding.cover(scene, side, side // 8) for scene in scenes])
    return {
        "pixels": torch.from_numpy(world.render(scenes, side)),
        "tokens": tokens,
        "labels": labels.reshape(tokens.shape),
        "centre": torch.tensor([centre(scene) for scene in scenes]),
        "covers": (covers * 255).round().byte(),
        "kind": torch.tensor([kind(scene) for scene in scenes], dtype=torch.uint8),
        "coloured": torch.tensor([bool(named_colours(text)) for _, text in worded]).reshape(CHUNK, CAPTIONS_EACH),
    }


def encoded(chunk: dict[str, torch.Tensor], vae: AutoencoderKL) -> dict[str, torch.Tensor]:
    """The chunk with the scaled `mean` and `deviation` of its latents instead of its pixels, on the VAE's device."""
    means, deviations = [], []
    with torch.no_grad():
        for pixels in chunk["pixels"].split(ENCODED_AT_ONCE):
            posterior = vae.encode(to_pixels(pixels.to(vae.device))).latent_dist
            means.append((posterior.mean * vae.config.scaling_factor).half())
            deviations.append((posterior.std * vae.config.scaling_factor).half())
    rest = {name: tensor.to(vae.device) for name, tensor in chunk.items() if name != "pixels"}
    return {"mean": torch.cat(means), "deviation": torch.cat(deviations), **rest}


def build_chunk(file: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, side: int, seed: list[int]) -> None:
    part = file.with_suffix(".part")
    torch.save(encoded(draw_chunk(tokenizer, side, seed), vae), part)
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
    return joined(chunks)


def joined(chunks: list[dict[str, torch.Tensor]]) -> Pool:
    return Pool(**{field.name: torch.cat([chunk[field.name] for chunk in chunks]) for field in dataclasses.fields(Pool)})
