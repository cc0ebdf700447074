"""Text to image with an exported folder, on ONNX Runtime, with diffusers' DDIM scheduler and guidance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from diffusers import DDIMScheduler
from transformers import CLIPTokenizer

import networks
from vae import to_bytes

# What suits the demo model: more pushes colours past their neighbours.
GUIDANCE = 3.0


class Sampler:
    """The sessions of one model folder."""

    def __init__(self, folder: Path, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3

        def session(name: str) -> onnxruntime.InferenceSession:
            return onnxruntime.InferenceSession(folder / name / "model.onnx", options, ["CPUExecutionProvider"])

        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
        self.text_encoder, self.unet, self.vae_decoder = map(session, ("text_encoder", "unet", "vae_decoder"))

    def embed(self, prompts: list[str]) -> np.ndarray:
        """Text embeddings [B, 77, width]."""
        ids = networks.token_ids(self.tokenizer, prompts).numpy().astype(np.int32)
        return self.text_encoder.run(["last_hidden_state"], {"input_ids": ids})[0]

    def start_noise(self, seeds: list[int], side: int) -> torch.Tensor:
        """Each row from its own seed, so that a picture does not depend on its batch."""
        shape = (1, 4, side // 8, side // 8)
        return torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    def latents(self, prompts: list[str], seeds: list[int], steps: int, guidance: float, side: int) -> torch.Tensor:
        context = np.concatenate([self.embed([""] * len(prompts)), self.embed(prompts)])
        self.scheduler.set_timesteps(steps)
        latents = self.start_noise(seeds, side)
        for timestep in self.scheduler.timesteps:
            feed = {
                "sample": torch.cat([latents, latents]).numpy(),
                "timestep": timestep.reshape(1).numpy(),
                "encoder_hidden_states": context,
            }
            plain, prompted = torch.from_numpy(self.unet.run(None, feed)[0]).chunk(2)
            noise = plain + guidance * (prompted - plain)
            latents = self.scheduler.step(noise, timestep, latents).prev_sample
        return latents

    def generate(
        self, prompts: list[str], seeds: list[int], steps: int = 30, guidance: float = GUIDANCE, side: int = 128, batch: int = 16
    ) -> np.ndarray:
        """Pictures [B, side, side, 3] of bytes."""
        pictures = []
        for first in range(0, len(prompts), batch):
            rows = slice(first, first + batch)
            latents = self.latents(prompts[rows], seeds[rows], steps, guidance, side) / 0.18215
            decoded = self.vae_decoder.run(None, {"latent_sample": latents.numpy()})[0]
            pictures.append(to_bytes(torch.from_numpy(decoded)))
        return np.concatenate(pictures)
