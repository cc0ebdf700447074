"""DreamBooth: the whole denoiser learns a rare word, with class pictures as a prior (Ruiz et al. 2023, arXiv:2208.12242)."""

from __future__ import annotations

import torch

from common import Method


class DreamBooth(Method):
    name = "dreambooth"
    source = "arXiv:2208.12242; diffusers/examples/dreambooth"
    rate = 1e-4  # 5e-6 on SD-1.5; the demo model is 200 times smaller
    prior_weight = 1.0
    changes = frozenset({"unet"})

    def prepare(self) -> None:
        self.model.unet.requires_grad_(True)

    def parameters(self) -> list[torch.nn.Parameter]:
        return list(self.model.unet.parameters())

    def stored(self) -> dict[str, torch.Tensor]:
        return {name: value.detach() for name, value in self.model.unet.named_parameters()}
