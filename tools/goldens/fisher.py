"""Write tests/goldens/fisher.json: latent Fisher divergence of a concept on tests/tiny, in torch.

The networks are made again as tools/goldens/pipeline.py made them and held against the ONNX files. Pair i draws
its noise and then its timestep from PyTorch's generator seeded seed + i. Takes half a minute.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from diffusers import DDIMScheduler
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTokenizer

import pipeline

sys.path.insert(0, str(pipeline.ROOT / "tools"))
from torch_infusion import Streams  # noqa: E402

TINY = pipeline.ROOT / "tests/tiny"
PAIRS = [("init.png", "a photo of a ball in the snow"), ("foundation.png", "two balls, and a ball on the grass")]
COUNT, SEED = 7, 11


def occurrences(ids: list[int], phrase: list[int]) -> list[int]:
    starts = [k for k in range(len(ids)) if ids[k : k + len(phrase)] == phrase]
    return [k + i for k in starts for i in range(len(phrase))]


@torch.no_grad()
def divergence(networks, tokenizer, phrase: str | None) -> dict:
    text, unet, vae = networks
    streams, scheduler = Streams(unet), DDIMScheduler(**pipeline.SCHEDULER)
    deltas = load_file(TINY / "striped.safetensors")
    delta = torch.cat([deltas[f"unet.{path}.to_v.infusion_delta"] for path in streams.paths], 1)
    terms = []
    for index in range(COUNT):
        file, caption = PAIRS[index % len(PAIRS)]
        pixels = torch.from_numpy(np.asarray(Image.open(TINY / file).convert("RGB"))).float() / 127.5 - 1
        latents = vae.encode(pixels.permute(2, 0, 1)[None]).latent_dist.mean * 0.18215
        generator = torch.Generator().manual_seed(SEED + index)
        noise = torch.randn(1, 4, 8, 8, generator=generator)
        timestep = torch.tensor([int(torch.rand(1, generator=generator).item() * 1000)])
        noised = scheduler.add_noise(latents, noise, timestep)
        tokens = tokenizer(caption, padding="max_length", max_length=77, return_tensors="pt").input_ids
        own = tokenizer(phrase or caption, add_special_tokens=False).input_ids
        mask = torch.zeros(1, 77, 1)
        mask[0, occurrences(tokens[0].tolist(), own)] = 1
        context = text(tokens, return_dict=False)[0]
        original = streams.foundation(noised, timestep, context)
        customised = streams.customised(noised, timestep, context, dict(streams.maps), mask, delta)
        terms.append(0.5 * float(((original - customised).double() ** 2).sum()))
    return {"terms": terms, "mean": float(np.mean(terms)), "error": float(np.std(terms, ddof=1) / COUNT**0.5)}


@torch.no_grad()
def check_networks(unet) -> None:
    feed = {"sample": torch.randn(2, 4, 8, 8), "timestep": torch.tensor([5]), "encoder_hidden_states": torch.randn(2, 77, 32)}
    session = onnxruntime.InferenceSession(TINY / "unet/model.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {name: value.numpy() for name, value in feed.items()})[0]
    apart = float((unet(*feed.values(), return_dict=False)[0] - torch.from_numpy(found)).abs().max())
    if apart > 1e-4:
        raise SystemExit(f"the networks are not those of tests/tiny: {apart:.1e} apart")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=pipeline.ROOT / "tests/goldens/fisher.json")
    out = parser.parse_args().out
    tokenizer = CLIPTokenizer.from_pretrained(str(pipeline.ROOT / "tests/goldens/tokenizer"))
    networks = pipeline.networks(tokenizer)
    check_networks(networks[1])
    cases = {"everywhere": divergence(networks, tokenizer, None), "ball": divergence(networks, tokenizer, "ball")}
    pairs = [{"file_name": file, "text": caption} for file, caption in PAIRS]
    out.write_text(json.dumps({"pairs": pairs, "count": COUNT, "seed": SEED, **cases}, indent=1) + "\n")
    print({name: (case["mean"], case["error"]) for name, case in cases.items()})


if __name__ == "__main__":
    main()
