"""Goldens of training: one gradient, and 20 steps of Adam with every random number written down."""

import torch
from diffusers import DDIMScheduler
from generation import edit
from torch_infusion import Streams

STEPS, BATCH, PICTURES, RATE = 20, 2, 5, 0.01
PROMPT = "a photo of a ball in the snow"


def tensors(demo):
    streams = Streams(demo.unet)
    return one_gradient(demo, streams) | {f"adam.{n}": t for n, t in adam(demo, streams).items()}


def one_gradient(demo, streams):
    """Two rows with two concepts, a timestep each."""
    generator = torch.Generator().manual_seed(31)
    sample, target = torch.randn(2, BATCH, 4, 16, 16, generator=generator).double()
    context = demo.embed([PROMPT, "a photo of a ball and a traffic cone in the snow"])
    timestep = torch.tensor([120, 740])
    mask, delta = edit(demo, [["ball"], ["traffic", "cone"]], streams.total_width)
    mask = torch.cat([row_of_ball(demo, mask), mask])
    loss, grad, prediction = streams.gradient(sample, timestep, context, mask, delta, target)
    return {
        "sample": sample,
        "timestep": timestep,
        "encoder_hidden_states": context,
        "mask": mask,
        "delta": delta,
        "target": target,
        "loss": loss,
        "grad": grad,
        "prediction": prediction,
    }


def row_of_ball(demo, like):
    """The mask of PROMPT: slot 0 on "ball", nothing for the other concept."""
    mask = torch.zeros_like(like)
    (ball,) = demo.tokenizer("ball", add_special_tokens=False).input_ids
    mask[0, demo.tokens([PROMPT])[0].tolist().index(ball), 0] = 1
    return mask


def adam(demo, streams):
    generator = torch.Generator().manual_seed(41)
    latents = torch.randn(PICTURES, 4, 16, 16, generator=generator)
    noise = torch.randn(STEPS, BATCH, 4, 16, 16, generator=generator)
    picked = torch.randint(PICTURES, (STEPS, BATCH), generator=generator)
    timesteps = torch.randint(1000, (STEPS, BATCH), generator=generator)
    schedule = DDIMScheduler.from_pretrained(demo.folder / "scheduler")
    context = demo.embed([PROMPT])
    rows = context.expand(BATCH, -1, -1)
    mask = row_of_ball(demo, torch.zeros(1, 77, 1, dtype=torch.float64))
    delta = torch.zeros(1, streams.total_width, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=RATE)
    losses, kept = [], {}
    for k in range(STEPS):
        noised = schedule.add_noise(latents[picked[k]].double(), noise[k].double(), timesteps[k])
        target = noise[k].double()
        loss, delta.grad, _ = streams.gradient(noised, timesteps[k], rows, mask.expand(BATCH, -1, -1), delta, target)
        optimizer.step()
        losses.append(loss)
        if k + 1 in (1, 5, STEPS):
            kept[f"delta.{k + 1}"] = delta.detach().clone()
    return kept | {
        "latents": latents,
        "noise": noise,
        "picked": picked,
        "timestep": timesteps,
        "encoder_hidden_states": context[0],
        "mask": mask,
        "losses": torch.stack(losses),
    }
