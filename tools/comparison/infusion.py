"""Infusion: Δ on the value rows of the concept's word learns, under the foundation's maps (eq. 7 and 8).

Streams and concept file are those of tools/demo_model/train_concept_torch.py.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from common import Method, Streams


class Infusion(Method):
    name = "infusion"
    source = "the paper"
    rate = 1e-2

    def prepare(self) -> None:
        self.streams = Streams(self.model.unet)
        for delta in self.streams.deltas.values():
            delta.requires_grad_(True)

    def parameters(self) -> list[torch.nn.Parameter]:
        return list(self.streams.deltas.values())

    def prompt(self, plain: str) -> str:
        return plain

    def predict(self, noised, timesteps, prompts: list[str]) -> torch.Tensor:
        context, mask = self.model.embed(prompts), self.model.places(prompts, self.concept.word)[..., None].float()
        self.streams.foundation(noised, timesteps, context)
        return self.streams.customised(noised, timesteps, context, mask)

    def stored(self) -> dict[str, torch.Tensor]:
        return {f"unet.{name}.to_v.infusion_delta": delta.detach() for name, delta in self.streams.deltas.items()}

    def export(self, folder: Path) -> None:
        """A concept file for the model as it is."""
        folder.mkdir(parents=True, exist_ok=True)
        metadata = {"format_version": "1", "concept": self.concept.name, "class": self.concept.word}
        stored = {name: delta.contiguous().clone() for name, delta in self.stored().items()}
        save_file(stored, folder / "concept.safetensors", metadata)
