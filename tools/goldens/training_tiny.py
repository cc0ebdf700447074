#!/usr/bin/env python3
"""Twenty steps of Adam on the tiny pipeline in torch, for `infusion::train` to follow: tests/tiny/training.safetensors.

Everything random comes from one generator in a stated order, so that the file holds results alone: delta after
each step and the losses. Seconds.
"""

import sys
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file
from transformers import CLIPTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pipeline import PROMPT, ROOT, SCHEDULER, networks  # noqa: E402
from torch_infusion import Streams  # noqa: E402

STEPS, BATCH, PICTURES, RATE, SEED = 20, 2, 3, 0.01, 41


def main():
    tokenizer = CLIPTokenizer.from_pretrained(str(ROOT / "tests/goldens/tokenizer"))
    text, unet, _ = networks(tokenizer)
    streams = Streams(unet.requires_grad_(False))
    tokens = tokenizer([PROMPT], padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        context = text(tokens, return_dict=False)[0].expand(BATCH, -1, -1)
    mask = rows_of(tokenizer, tokens[0].tolist(), "ball").expand(BATCH, -1, -1)
    schedule = DDIMScheduler(**SCHEDULER)
    generator = torch.Generator().manual_seed(SEED)
    latents = torch.randn(PICTURES, 4, 8, 8, generator=generator)
    weight = torch.rand(BATCH, 1, 8, 8, generator=generator)

    delta = torch.zeros(mask.shape[2], streams.total_width, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=RATE)
    deltas, losses = [], []
    for step in range(STEPS):
        picked = torch.randint(PICTURES, (BATCH,), generator=generator)
        timesteps = torch.randint(1000, (BATCH,), generator=generator)
        noise = torch.randn(BATCH, 4, 8, 8, generator=generator)
        noised = schedule.add_noise(latents[picked], noise, timesteps)
        with torch.no_grad():
            streams.foundation(noised, timesteps, context)
        predicted = streams.customised(noised, timesteps, context, dict(streams.maps), mask, delta)
        counts = weight if step % 2 else torch.ones(())
        loss = (counts * (predicted - noise) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        deltas.append(delta.detach().clone())
        losses.append(loss.detach().double())
    print("loss", float(losses[0]), "to", float(losses[-1]), "largest delta", float(delta.abs().max()))
    save_file({"delta": torch.stack(deltas), "losses": torch.stack(losses)}, ROOT / "tests/tiny/training.safetensors")


def rows_of(tokenizer, tokens, phrase):
    """1 where token k of the phrase stands in the prompt, [1, 77, T]: a row of delta for each token."""
    ids = tokenizer(phrase, add_special_tokens=False).input_ids
    first = next(i for i in range(77) if tokens[i : i + len(ids)] == ids)
    mask = torch.zeros(1, 77, len(ids))
    for k in range(len(ids)):
        mask[0, first + k, k] = 1
    return mask


if __name__ == "__main__":
    main()
