"""A second training of the autoencoder with more weight on objects, beside the denoiser's first stage.

Going on from the same weights keeps the latents' language, so the denoiser needs no new start: its second stage
learns on scenes encoded anew. Latents are roughened as a denoiser's are.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from vae import BATCHES, CACHED_SCENES, COLOUR_WEIGHT, ColourAxes, cached_pictures, even_out, random_pictures, warm_cosine

STEPS = 4000
LEARNING_RATE = 1.5e-3
LATENT_NOISE = 0.08
OBJECT_WEIGHT = 5.0
OBJECT_DISTANCE = 0.5
KL_WEIGHT = 1e-5


def pixel_weights(pixels: torch.Tensor) -> torch.Tensor:
    """More where a pixel is far from the picture's median colour: on objects; mean 1; [B, 1, H, W]."""
    median = pixels.flatten(2).median(-1).values[:, :, None, None]
    weights = 1 + OBJECT_WEIGHT * ((pixels - median).square().sum(1, keepdim=True) > OBJECT_DISTANCE**2).float()
    return weights / weights.mean()


def refine_loss(vae: AutoencoderKL, axes: ColourAxes, pixels: torch.Tensor) -> torch.Tensor:
    posterior = vae.encode(pixels).latent_dist
    noise = torch.randn_like(posterior.mean) * (LATENT_NOISE / vae.config.scaling_factor)
    error = vae.decode(posterior.sample() + noise).sample - pixels
    scaled = vae.config.scaling_factor * posterior.mean
    drawn = (pixel_weights(pixels) * (error.abs() + error.square())).mean()
    return drawn + KL_WEIGHT * scaled.square().mean() + COLOUR_WEIGHT * axes.loss(scaled, pixels)


def refine(start: Path, target: Path, seed: int = 5, steps: int = STEPS, minutes: float = float("inf")) -> None:
    """From the autoencoder in folder `start` to folder `target`; resumes from its own checkpoint beside `target`."""
    torch.manual_seed(seed)
    work, checkpoint = target.parent, target.with_suffix(".pt")
    vae = AutoencoderKL.from_pretrained(start)
    optimizer = torch.optim.AdamW(vae.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0)
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    drawn = {side: cached_pictures(work, CACHED_SCENES, side, 1) for side in BATCHES}
    axes = ColourAxes(drawn[128][:300])
    began, losses = time.time(), []
    for step in range(first, steps):
        share = max(step / steps, (time.time() - began) / (60 * minutes))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * warm_cosine(round(share * steps), 50, steps)
        loss = refine_loss(vae, axes, random_pictures(drawn, seed, step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            print(f"refine {step + 1}/{steps} loss {np.mean(losses[-100:]):.4f} {time.time() - began:.0f} s", flush=True)
        if (step + 1) % 250 == 0 or share >= 1:
            torch.save({"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, checkpoint)
        if share >= 1:
            break
    even_out(vae, drawn[128][:300])
    vae.save_pretrained(target)
