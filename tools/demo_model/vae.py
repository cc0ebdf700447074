"""The autoencoder: SD-1.5's `AutoencoderKL` (8x down, 4 latent channels), only narrower, and its training."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

import world

CACHED_SCENES = 3000
STEPS = 5000
BATCHES = {64: 4, 128: 1}
LEARNING_RATE = 2e-3
KL_WEIGHT = 2e-5
COLOUR_WEIGHT = 0.1
FIRST_LOG_VARIANCE = -6.0


def new_vae() -> AutoencoderKL:
    """Untrained, and nearly without latent noise: with unit noise at the start two of four channels stay unused."""
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[16, 32, 48, 64],
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=128,
    )
    with torch.no_grad():
        vae.quant_conv.bias[4:] = FIRST_LOG_VARIANCE
    return vae


def to_pixels(pictures: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Bytes [B, H, W, 3] to floats [B, 3, H, W] in -1…1."""
    return torch.as_tensor(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous()


def to_bytes(pixels: torch.Tensor) -> np.ndarray:
    """Floats [B, 3, H, W] in -1…1 to bytes [B, H, W, 3]."""
    return pixels.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def cached_pictures(cache: Path, count: int, size: int, seed: int) -> np.ndarray:
    """Training scenes as bytes, drawn once and kept under `cache`."""
    file = cache / f"pictures_{size}_{count}.npy"
    if not file.exists():
        rng = np.random.default_rng(seed)
        np.save(file, world.render([world.random_scene(rng) for _ in range(count)], size))
    return np.load(file, mmap_mode="r")


def random_pictures(drawn: dict[int, np.ndarray], seed: int, step: int) -> torch.Tensor:
    """Whole pictures of the two sizes by turns: group norms see other statistics in crops than in use."""
    side = 64 if step % 2 else 128
    rng = np.random.default_rng([seed, step])
    return to_pixels(drawn[side][np.sort(rng.integers(0, len(drawn[side]), BATCHES[side]))])


class ColourAxes:
    """Ties three latent channels to red, green and blue of each cell's mean, with mean 0 and deviation 1.

    Left alone, so small an autoencoder strings all colours along one line, where a step from yellow to pink passes
    orange, and a denoiser that is a little off draws the neighbour's colour.
    """

    def __init__(self, pictures: np.ndarray):
        means = self.cell_means(to_pixels(np.array(pictures)))
        self.centre = means.mean((0, 2, 3), keepdim=True)
        self.spread = means.std((0, 2, 3), keepdim=True)

    @staticmethod
    def cell_means(pixels: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(pixels, 8)

    def loss(self, latents: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """Mean squared distance of scaled latents [B, 4, h, w] to the colours of `pixels` [B, 3, 8h, 8w]."""
        wanted = (self.cell_means(pixels) - self.centre) / self.spread
        return F.mse_loss(latents[:, :3], wanted)


def vae_loss(vae: AutoencoderKL, axes: ColourAxes, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Absolute and squared error, a small divergence from the unit Gaussian (a mean over latent numbers), colours."""
    posterior = vae.encode(pixels).latent_dist
    decoded = vae.decode(posterior.sample()).sample
    divergence = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
    colours = axes.loss(vae.config.scaling_factor * posterior.mean, pixels)
    error = F.l1_loss(decoded, pixels)
    return error + F.mse_loss(decoded, pixels) + KL_WEIGHT * divergence + COLOUR_WEIGHT * colours, error


def train_vae(work: Path, seed: int = 1, steps: int = STEPS) -> AutoencoderKL:
    """Train, or resume, and keep the result in `work`/vae with its scaling factor set."""
    torch.manual_seed(seed)
    vae, checkpoint = new_vae(), work / "vae.pt"
    optimizer = torch.optim.AdamW(vae.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, 100, steps))
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        start = state["step"]
    drawn = {side: cached_pictures(work, CACHED_SCENES, side, seed) for side in BATCHES}
    axes = ColourAxes(drawn[128][:300])
    began, errors = time.time(), []
    for step in range(start, steps):
        loss, error = vae_loss(vae, axes, random_pictures(drawn, seed, step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        errors.append(error.item())
        if (step + 1) % 100 == 0:
            print(f"vae {step + 1}/{steps} L1 {np.mean(errors[-100:]):.4f} {time.time() - began:.0f} s", flush=True)
        if (step + 1) % 500 == 0 or step + 1 == steps:
            states = {"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
            torch.save({**states, "step": step + 1}, checkpoint)
    even_out(vae, drawn[128][:300])
    vae.save_pretrained(work / "vae")
    return vae.eval()


def warm_cosine(step: int, warm_up: int, steps: int, floor: float = 0.01) -> float:
    if step < warm_up:
        return (step + 1) / warm_up
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, steps - warm_up))))


@torch.no_grad()
def even_out(vae: AutoencoderKL, pictures: np.ndarray) -> None:
    """Whiten the latents: mean 0, no correlation, deviation 1 / scaling_factor, with SD-1.5's factor.

    What `quant_conv` mixes in, `post_quant_conv` takes out again, so means decode as before; the posterior's
    deviations, which are tiny, are stretched as the axes are on average.
    """
    moments = [vae.encode(to_pixels(np.array(pictures[k : k + 50]))).latent_dist for k in range(0, len(pictures), 50)]
    latents = torch.cat([posterior.mean for posterior in moments]).movedim(1, 0).flatten(1)
    shift = latents.mean(1)
    values, axes = torch.linalg.eigh(torch.cov(latents))
    mixing = axes @ torch.diag(values**-0.5 / vae.config.scaling_factor) @ axes.T
    inward, outward = vae.quant_conv, vae.post_quant_conv
    outward.bias += outward.weight[:, :, 0, 0] @ shift
    outward.weight.copy_(mix(outward.weight, torch.linalg.inv(mixing).T))
    inward.bias[:4] = mixing @ (inward.bias[:4] - shift)
    inward.weight[:4] = mix(inward.weight[:4].transpose(0, 1), mixing).transpose(0, 1)
    inward.bias[4:] += 2 * mixing.norm(dim=1).log()


def mix(weight: torch.Tensor, mixing: torch.Tensor) -> torch.Tensor:
    """`mixing` [4, 4] applied to the second axis of a 1×1 convolution's weight [out, 4, 1, 1]."""
    return torch.einsum("oihw,ji->ojhw", weight, mixing)
