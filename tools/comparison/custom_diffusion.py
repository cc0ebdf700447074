"""Custom Diffusion: key and value projections of cross-attention and the word's embedding learn, with class pictures as
a prior (Kumari et al. 2023, arXiv:2212.04488)."""

from __future__ import annotations

import torch

from common import IDENTIFIER
from textual_inversion import TextualInversion


class CustomDiffusion(TextualInversion):
    name = "custom_diffusion"
    source = "arXiv:2212.04488; diffusers/examples/custom_diffusion"
    rate = 5e-4
    changes = frozenset({"unet", "text_encoder"})
    prior_weight = 1.0

    def prepare(self) -> None:
        super().prepare()
        named = self.model.unet.named_parameters()
        self.projections = {name: weight for name, weight in named if "attn2.to_k" in name or "attn2.to_v" in name}
        for weight in self.projections.values():
            weight.requires_grad_(True)

    def parameters(self) -> list[torch.nn.Parameter]:
        return [*self.projections.values(), self.table]

    def prompt(self, plain: str) -> str:
        return plain.replace(self.concept.word, f"{IDENTIFIER} {self.concept.word}")

    def stored(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach() for name, weight in self.projections.items()} | super().stored()
