"""Joint training of the denoiser and the text encoder on encoded scenes, with checkpoints that a later run resumes."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from pathlib import Path

import torch
from torch import nn

import grounding
import networks
from pool import Batch, load_pool

LEAST_SNR, MOST_SNR = 0.2, 5.0
NOISY_POWER = 0.7
GROUNDING_WEIGHT = 0.03


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stretch of training on one pool; stages follow each other on the same weights.

    Steps on whole pictures (`batch` of them) take turns with steps on windows about the object (`windows` of them;
    none where 0). The rate falls as a cosine over `steps`, or over `minutes` if those are over earlier.
    """

    name: str
    pool: str
    steps: int
    batch: int
    windows: int
    learning_rate: float
    final_rate: float
    minutes: float = float("inf")


class Networks(nn.Module):
    """The two networks that are trained together."""

    def __init__(self, tokenizer):
        super().__init__()
        self.unet = networks.new_unet()
        self.text_encoder = networks.new_text_encoder(tokenizer)

    def forward(self, noised: Noised) -> torch.Tensor:
        batch = noised.batch
        context, described = self.text_encoder(torch.cat([batch.tokens, batch.described])).last_hidden_state.chunk(2)
        values = grounding.with_nouns_of(context, batch.labels, described, batch.described_labels)
        return self.unet(noised.latents, noised.timesteps, torch.cat([context, values], -1)).sample


def loss_weights(alphas: torch.Tensor) -> torch.Tensor:
    """Min-SNR weights for noise prediction (Hang et al. 2023, eq. 9), bounded below as well.

    Colours are settled where noise hides everything; there the plain loss hardly asks for them.
    """
    snr = alphas / (1 - alphas)
    return snr.clamp(LEAST_SNR, MOST_SNR) / snr


def training_loss(model: Networks, maps: list[torch.Tensor], alphas: torch.Tensor, noised: Noised):
    """What is minimised, and its two parts."""
    batch = noised.batch
    errors = (model(noised) - noised.noise).square().mean((1, 2, 3))
    denoising = (errors * loss_weights(alphas[noised.timesteps])).mean()
    grounding_loss = grounding.grounding_loss(maps, batch.covers, batch.labels)
    return denoising + GROUNDING_WEIGHT * grounding_loss, torch.stack([denoising, grounding_loss]).detach()


@dataclasses.dataclass(frozen=True)
class Noised:
    """A batch, its timesteps [B], and the noise that its `latents` hold."""

    batch: Batch
    timesteps: torch.Tensor
    noise: torch.Tensor
    latents: torch.Tensor


def add_noise(batch: Batch, alphas: torch.Tensor, generator: torch.Generator) -> Noised:
    """Noisy timesteps, where pictures are laid out, come more often."""
    drawn = {"generator": generator, "device": generator.device}
    timesteps = (torch.rand(len(batch.latents), **drawn) ** NOISY_POWER * len(alphas)).long()
    noise = torch.randn(batch.latents.shape, **drawn)
    alpha = alphas[timesteps].reshape(-1, 1, 1, 1)
    return Noised(batch, timesteps, noise, alpha.sqrt() * batch.latents + (1 - alpha).sqrt() * noise)


def average_into(average: Networks, model: Networks, step: int) -> None:
    decay = min(0.995, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def train_stage(work: Path, tokenizer, stage: Stage, start_from: Path | None, seed: int = 3) -> Path:
    """Run (or resume) one stage; returns its checkpoint. `start_from` is the stage before."""
    torch.manual_seed(seed)
    checkpoint = work / f"{stage.name}.pt"
    model, average = Networks(tokenizer), Networks(tokenizer)
    average.load_state_dict(model.state_dict())
    maps = grounding.record(model.unet)
    optimizer = torch.optim.AdamW(model.parameters(), stage.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    step, resumed = 0, checkpoint.exists()
    if resumed or start_from:
        state = torch.load(checkpoint if resumed else start_from, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"] if resumed else 0
    pool, alphas = load_pool(work / stage.pool), networks.new_scheduler().alphas_cumprod
    began, losses, share = time.time(), [], 0.0
    print(f"{stage.name}: {len(pool.mean)} scenes, from step {step}", flush=True)
    while step < stage.steps and share < 1:
        share = max(step / stage.steps, (time.time() - began) / (60 * stage.minutes))
        for group in optimizer.param_groups:
            group["lr"] = rate_at(stage, step, share)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        windowed = stage.windows and step % 2
        batch = pool.windows(stage.windows, generator) if windowed else pool.batch(stage.batch, generator)
        loss, parts = training_loss(model, maps, alphas, add_noise(batch, alphas, generator))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average_into(average, model, step + (2000 if start_from else 0))
        losses.append(parts)
        step += 1
        if step % 50 == 0:
            noise, words = torch.stack(losses[-50:]).mean(0)
            seconds = time.time() - began
            print(f"{stage.name} {step}/{stage.steps} noise {noise:.4f} words {words:.3f} {seconds:.0f} s", flush=True)
        if step % 100 == 0 or step == stage.steps or share >= 1:
            save_state(checkpoint, model, average, optimizer, step)
    return checkpoint


def rate_at(stage: Stage, step: int, share: float) -> float:
    warm_up = min(1.0, (step + 1) / 50)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return warm_up * (stage.final_rate + (stage.learning_rate - stage.final_rate) * fall)


def save_state(checkpoint: Path, model: Networks, average: Networks, optimizer, step: int) -> None:
    part = checkpoint.with_suffix(".part")
    states = {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**states, "step": step}, part)
    os.replace(part, checkpoint)


def averaged(checkpoint: Path, tokenizer) -> Networks:
    """The networks with their averaged weights, ready to use."""
    model = Networks(tokenizer)
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    return model.eval()
