"""DreamBooth with LoRA: rank-4 updates of all attention projections, by the peft library (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

import copy

import peft
import torch

from common import Method


class Lora(Method):
    name = "dreambooth_lora"
    source = "arXiv:2106.09685; peft; diffusers/examples/dreambooth (train_dreambooth_lora.py)"
    rate = 1e-3
    prior_weight = 1.0
    changes = frozenset({"unet"})

    def prepare(self) -> None:
        targets = ["to_q", "to_k", "to_v", "to_out.0"]
        config = peft.LoraConfig(r=4, lora_alpha=4, target_modules=targets, init_lora_weights="gaussian")
        self.model.unet = peft.get_peft_model(self.model.unet, config)

    def parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.model.unet.parameters() if parameter.requires_grad]

    def stored(self) -> dict[str, torch.Tensor]:
        return peft.get_peft_model_state_dict(self.model.unet)

    def learned_unet(self) -> torch.nn.Module:
        return copy.deepcopy(self.model.unet).merge_and_unload()
