"""Perfusion: gated rank-one edits of K and V, the key locked to the super-class (Tewel et al. 2023, arXiv:2305.01644).

A small implementation of the paper's equations, for want of a library. With e an encoding of a token, i* the concept's
encoding (a running mean over training prompts), C the uncentred covariance of encodings of captions and
sim(e) = i*ᵀC⁻¹e / i*ᵀC⁻¹i*, each projection gives

    W (e − i* sim(e)) + o* sigmoid((sim(e) − β) / τ)        (eq. 4 and 5 there)

with o* = W i*_class for keys (locked) and o* learned for values, beginning there. β = 0.75, τ = 0.1. The word's
embedding learns, too.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from common import IDENTIFIER, captions, world
from textual_inversion import TextualInversion

BIAS, TEMPERATURE, MEMORY = 0.75, 0.1, 0.99
CAPTIONS, RIDGE = 400, 1e-4


def world_captions(count: int) -> list[str]:
    """What the covariance is of; the paper takes captions of LAION."""
    rng = np.random.default_rng(9)
    scenes = [world.random_scene(rng, "one" if k % 3 else "two") for k in range(count)]
    return [captions.caption(scene, rng) for scene in scenes]


class Gated(nn.Module):
    """A projection with its rank-one edit; `key` is C⁻¹i* / i*ᵀC⁻¹i*, so that sim(e) = eᵀ key."""

    def __init__(self, linear: nn.Linear, concept: torch.Tensor, inverse: torch.Tensor, target: torch.Tensor, learns: bool):
        super().__init__()
        self.weight, self.inverse = linear.weight, inverse
        self.register_buffer("concept", concept.clone())
        self.register_buffer("key", torch.empty_like(concept))
        self.target = nn.Parameter(target.clone(), requires_grad=learns)
        self.follow(concept)

    @torch.no_grad()
    def follow(self, concept: torch.Tensor) -> None:
        """Moves the concept's encoding to a new one."""
        self.concept.copy_(concept)
        key = self.inverse @ concept
        self.key.copy_(key / (concept @ key))

    def forward(self, encodings):
        similarity = (encodings @ self.key)[..., None]
        gate = torch.sigmoid((similarity - BIAS) / TEMPERATURE)
        return (encodings - similarity * self.concept) @ self.weight.T + gate * self.target


class Perfusion(TextualInversion):
    name = "perfusion"
    source = "arXiv:2305.01644"
    rate = 5e-3
    changes = frozenset({"unet", "text_encoder"})

    def prepare(self) -> None:
        super().prepare()
        with torch.no_grad():
            _, prompts = self.concept.pictures("class_pictures")
            encodings = self.model.embed(world_captions(CAPTIONS)).flatten(0, 1)
            covariance = encodings.T @ encodings / len(encodings)
            ridge = RIDGE * covariance.trace() / len(covariance) * torch.eye(len(covariance))
            inverse = torch.linalg.inv(covariance + ridge)
            class_encoding = self.encoding(prompts, self.concept.word)
            start = self.encoding([self.prompt(prompt) for prompt in prompts], IDENTIFIER)
            self.edits = []
            for module in list(self.model.unet.modules()):
                for name in ("to_k", "to_v"):
                    linear = getattr(module, name, None)
                    if isinstance(linear, nn.Linear) and linear.in_features == self.model.unet.config.cross_attention_dim and self.is_cross(module):
                        target = linear.weight @ class_encoding
                        setattr(module, name, Gated(linear, start, inverse, target, learns=name == "to_v"))
                        self.edits.append(getattr(module, name))

    def is_cross(self, module: nn.Module) -> bool:
        return getattr(module, "is_cross_attention", False)

    def encoding(self, prompts: list[str], word: str) -> torch.Tensor:
        """The mean encoding of this word's tokens over the prompts."""
        return self.model.embed(prompts)[self.model.places(prompts, word)].mean(0)

    def parameters(self) -> list[torch.nn.Parameter]:
        return [self.table, *(edit.target for edit in self.edits if edit.target.requires_grad)]

    def predict(self, noised, timesteps, prompts: list[str]) -> torch.Tensor:
        with torch.no_grad():
            now = self.encoding(prompts, IDENTIFIER)
            for edit in self.edits:
                edit.follow(edit.concept.lerp(now, 1 - MEMORY))
        return super().predict(noised, timesteps, prompts)

    def stored(self) -> dict[str, torch.Tensor]:
        learned = {f"o.{k}": edit.target.detach() for k, edit in enumerate(self.edits)}
        return learned | super().stored() | {"concept": self.edits[0].concept}
