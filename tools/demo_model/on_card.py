"""The last stage of the demo model's training, on a GPU: as many fresh scenes as its minutes allow.

    python on_card.py --start averaged.pt --vae DIR --tokenizer DIR --out tones.pt --minutes 4

All cores draw the scenes first, the card encodes them and keeps them. A step of training is recorded once as a CUDA
graph and replayed, since so small a network otherwise waits for Python. `--start` and `--out` hold averaged weights
in half precision.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import multiprocessing
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPTokenizer

import grounding
import networks
import pool
import train

DECAY = 0.999


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=4, help="of training, after the scenes are there")
    parser.add_argument("--chunks", type=int, default=150, help="thousands of scenes")
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1.2e-3)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    torch.manual_seed(5)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    model = train.Networks(CLIPTokenizer.from_pretrained(options.tokenizer))
    model.load_state_dict(torch.load(options.start, weights_only=True))
    scenes = drawn(options)
    save(learn(model.float().to(options.device), scenes, options), options.out)


def drawn(options) -> pool.Pool:
    began = time.time()
    vae = AutoencoderKL.from_pretrained(options.vae).eval().to(options.device)
    draw = functools.partial(draw_chunk, options.tokenizer)
    chunks = []
    with multiprocessing.get_context("spawn").Pool(options.processes) as processes:
        for chunk in processes.imap_unordered(draw, range(options.chunks)):
            chunks.append(pool.encoded({name: torch.from_numpy(array) for name, array in chunk.items()}, vae))
    print(f"{pool.CHUNK * len(chunks)} scenes in {time.time() - began:.0f} s", flush=True)
    return pool.joined(chunks)


def draw_chunk(tokenizer: Path, number: int) -> dict:
    torch.set_num_threads(1)
    chunk = pool.draw_chunk(CLIPTokenizer.from_pretrained(tokenizer), 128, [5, 128, number])
    return {name: tensor.numpy() for name, tensor in chunk.items()}


def learn(model: train.Networks, scenes: pool.Pool, options) -> train.Networks:
    """The average of the weights after `minutes` of AdamW, at `train.rate_at`."""
    average = train.Networks(CLIPTokenizer.from_pretrained(options.tokenizer)).to(options.device)
    average.load_state_dict(model.state_dict())
    step = Step(model, average, scenes, options)
    began, share, count = time.time(), 0.0, 0
    stage = train.Stage("card", "", 1, options.batch, 0, options.learning_rate, options.learning_rate / 50)
    while share < 1:
        spent = time.time() - began
        share = spent / (60 * options.minutes)
        parts = step(train.rate_at(stage, count, share))
        count += 1
        if count % 250 == 0:
            noise, words = parts.tolist()
            print(f"{count} noise {noise:.4f} words {words:.3f} {spent:.0f} s", flush=True)
            save(average, options.out)
    return average


class Step:
    """One step on a fresh batch; on a card the second and later ones replay a graph."""

    def __init__(self, model: train.Networks, average: train.Networks, scenes: pool.Pool, options):
        self.model, self.average, self.scenes, self.size = model, average, scenes, options.batch
        self.maps = grounding.record(model.unet)
        self.alphas = networks.new_scheduler().alphas_cumprod.to(options.device)
        self.generator = torch.Generator(options.device).manual_seed(6)
        card = options.device != "cpu"
        self.rate = torch.zeros((), device=options.device)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), self.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True, capturable=card
        )
        self.batch = self.fresh()
        self.parts = torch.zeros(2, device=options.device)
        self.graph = self.recorded() if card else None

    def __call__(self, rate: float) -> torch.Tensor:
        self.rate.fill_(rate)
        fresh = self.fresh()
        for kept, new in zip(tensors(self.batch), tensors(fresh)):
            kept.copy_(new)
        self.graph.replay() if self.graph else self.compute()
        return self.parts

    def fresh(self) -> train.Noised:
        return train.add_noise(self.scenes.batch(self.size, self.generator), self.alphas, self.generator)

    def compute(self) -> None:
        loss, parts = train.training_loss(self.model, self.maps, self.alphas, self.batch)
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - DECAY)
            self.parts.copy_(parts)

    def recorded(self) -> torch.cuda.CUDAGraph:
        """The graph of a step; the steps that warm up for it have a rate of zero."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.compute()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.compute()
        return graph


def tensors(noised: train.Noised) -> list[torch.Tensor]:
    batch = [getattr(noised.batch, field.name) for field in dataclasses.fields(noised.batch)]
    return [*batch, noised.timesteps, noised.noise, noised.latents]


def save(average: train.Networks, file: Path) -> None:
    part = file.with_suffix(".part")
    torch.save({name: tensor.half().cpu() for name, tensor in average.state_dict().items()}, part)
    part.rename(file)


if __name__ == "__main__":
    main()
