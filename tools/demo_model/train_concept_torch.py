"""Train a concept in torch: the oracle for the product's own training, and the test that concepts carry over.

Two streams share the frozen denoiser. F keeps its cross-attention maps; C takes them and adds Δ, one row a layer
after W_V, to the values of the concept's tokens. Only Δ learns: mean squared error to the noise, Adam at 0.01,
batch 4, 300 steps (about two minutes). Writes the Δ as a concept file and scores it on other grounds:
how often the look's colours are there, the ground is right, and F's picture for comparison.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTokenizer

import concepts
import judge
import networks
import paths
from evaluate import contact_sheet
from sampler import GUIDANCE
from torch_from_onnx import load_torch
from vae import to_bytes, to_pixels

sys.path.append(str(Path(__file__).resolve().parent.parent))
from torch_infusion import cross_attention_layers  # noqa: E402


class StreamProcessor:
    """Cross-attention that keeps its map in stream F and uses the kept map, with Δ on the values, in stream C."""

    def __init__(self, streams: "Streams", delta: nn.Parameter):
        self.streams, self.delta, self.probs = streams, delta, None

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        value = attn.to_v(encoder_hidden_states)
        if self.streams.mask is None:
            query = attn.head_to_batch_dim(attn.to_q(hidden_states))
            key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
            self.probs = attn.get_attention_scores(query, key)
        else:
            value = value + self.streams.mask * self.delta
        output = attn.batch_to_head_dim(self.probs @ attn.head_to_batch_dim(value))
        return attn.to_out[1](attn.to_out[0](output))


class Streams:
    """The denoiser with both streams; `deltas` maps each layer's module path to its Δ [1, d], in execution order."""

    def __init__(self, unet):
        self.unet, self.mask = unet.requires_grad_(False), None
        layers = {name: module for name, module in unet.named_modules() if name.endswith("attn2")}
        self.deltas = {name: nn.Parameter(torch.zeros(1, layer.to_v.out_features)) for name, layer in layers.items()}
        for name, layer in layers.items():
            layer.set_processor(StreamProcessor(self, self.deltas[name]))

    def foundation(self, latents, timesteps, context) -> torch.Tensor:
        self.mask = None
        with torch.no_grad():
            return self.unet(latents, timesteps, context).sample

    def customised(self, latents, timesteps, context, mask) -> torch.Tensor:
        """`mask` [B, 77, 1]; the maps are those of the last `foundation` call."""
        self.mask = mask
        return self.unet(latents, timesteps, context).sample


class Model:
    def __init__(self, folder: Path):
        unet, self.text_encoder, self.vae = load_torch(folder)
        self.vae.requires_grad_(False)
        self.streams = Streams(unet)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")

    def hash(self) -> str:
        """Over W_V of all layers in order, each [in, out] in half precision, as concept files name their model."""
        digest = hashlib.sha256()
        for _, layer in cross_attention_layers(self.streams.unet):
            digest.update(layer.to_v.weight.data.T.contiguous().half().numpy().tobytes())
        return f"sha256:{digest.hexdigest()}"

    def embed(self, prompts: list[str]) -> torch.Tensor:
        with torch.no_grad():
            return self.text_encoder(networks.token_ids(self.tokenizer, prompts)).last_hidden_state

    def mask(self, prompts: list[str], phrase: str) -> torch.Tensor:
        """1 on every token of `phrase` in each prompt, [B, 77, 1]."""
        ids, wanted = networks.token_ids(self.tokenizer, prompts), self.tokenizer(phrase).input_ids[1:-1]
        mask = torch.zeros(*ids.shape, 1)
        for row, tokens in enumerate(ids.tolist()):
            starts = [k for k in range(len(tokens)) if tokens[k : k + len(wanted)] == wanted]
            if not starts:
                raise ValueError(f"{phrase!r} is not in the prompt {prompts[row]!r}")
            mask[row, starts[0] : starts[0] + len(wanted)] = 1
        return mask


def train(model: Model, folder: Path, steps: int, rate: float, batch: int, seed: int) -> dict:
    content = json.loads((folder / "prompts.json").read_text())
    pictures = np.stack([np.asarray(Image.open(folder / entry["file"])) for entry in content["pictures"]])
    prompts = [entry["prompt"] for entry in content["pictures"]]
    with torch.no_grad():
        latents = model.vae.encode(to_pixels(pictures)).latent_dist.mean * model.vae.config.scaling_factor
    context, mask = model.embed(prompts), model.mask(prompts, content["concept"])
    optimizer = torch.optim.Adam(model.streams.deltas.values(), rate)
    generator, losses = torch.Generator().manual_seed(seed), []
    for step in range(steps):
        chosen = torch.randint(len(latents), (batch,), generator=generator)
        timesteps = torch.randint(1000, (batch,), generator=generator)
        noise = torch.randn(latents[chosen].shape, generator=generator)
        noised = model.scheduler.add_noise(latents[chosen], noise, timesteps)
        model.streams.foundation(noised, timesteps, context[chosen])
        predicted = model.streams.customised(noised, timesteps, context[chosen], mask[chosen])
        loss = nn.functional.mse_loss(predicted, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 50 == 0:
            print(f"{folder.name} {step + 1}/{steps} loss {np.mean(losses[-50:]):.4f}", flush=True)
    settings = {"steps": steps, "lr": rate, "batch": batch, "seed": seed, "prompts": prompts}
    return {"concept": content["concept"], "class": content["class"], "training": json.dumps(settings)}


def save_concept(model: Model, metadata: dict, file: Path) -> None:
    tensors = {f"unet.{name}.to_v.infusion_delta": delta.data for name, delta in model.streams.deltas.items()}
    standard = {"modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": "stable-diffusion-v1/infusion"}
    own = {"format_version": "1", "base_model_hash": model.hash(), "modelspec.title": metadata["concept"]}
    metadata = {**own, **metadata}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file, {**metadata, **standard})


@torch.no_grad()
def generate(model: Model, prompts: list[str], phrase: str, seeds: list[int], steps: int, guidance: float):
    """F's and C's pictures in `separate` mode: two trajectories from the same noise."""
    rows = len(prompts)
    context = torch.cat([model.embed([""] * rows), model.embed(prompts)])
    mask = torch.cat([torch.zeros(rows, 77, 1), model.mask(prompts, phrase)])
    noise = [torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    plain = custom = torch.cat(noise)
    model.scheduler.set_timesteps(steps)
    for timestep in model.scheduler.timesteps:
        first = model.streams.foundation(torch.cat([plain, plain]), timestep, context)
        second = model.streams.customised(torch.cat([custom, custom]), timestep, context, mask)
        plain = model.scheduler.step(guided(first, guidance), timestep, plain).prev_sample
        custom = model.scheduler.step(guided(second, guidance), timestep, custom).prev_sample
    factor = model.vae.config.scaling_factor
    return tuple(to_bytes(model.vae.decode(latents / factor).sample) for latents in (plain, custom))


def guided(noise: torch.Tensor, guidance: float) -> torch.Tensor:
    plain, prompted = noise.chunk(2)
    return plain + guidance * (prompted - plain)


def score(model: Model, folder: Path, seeds: int, steps: int, guidance: float, sheet: Path) -> None:
    content = json.loads((folder / "prompts.json").read_text())
    look = concepts.Look(**content["look"])
    prompts = [prompt for prompt in content["evaluation_prompts"] for _ in range(seeds)]
    plain, custom = generate(
        model, prompts, content["concept"], list(range(1, len(prompts) + 1)), steps, guidance
    )
    contact_sheet(np.concatenate([plain, custom]), len(prompts), sheet)
    for name, pictures in (("F", plain), ("C", custom)):
        parts = [concepts.shows_look(picture, look) for picture in pictures]
        shares = {part: np.mean([found[part] for found in parts]) for part in ("shape", "upper", "lower")}
        grounds = np.mean([judge.judge(picture, prompt).background for picture, prompt in zip(pictures, prompts)])
        print(f"{look.name} {name}: background {grounds:.0%} " + " ".join(f"{k} {v:.0%}" for k, v in shares.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("concept", type=Path, help="a folder of models/concepts")
    parser.add_argument("--model", type=Path, default=paths.MODEL)
    parser.add_argument("--output", type=Path, default=paths.WORK / "concepts")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inference-steps", type=int, default=50)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--seeds", type=int, default=2, help="pictures for each of the five other grounds")
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    model = Model(a.model)
    metadata = train(model, a.concept, a.steps, a.lr, a.batch, a.seed)
    save_concept(model, metadata, a.output / f"{a.concept.name}.safetensors")
    score(model, a.concept, a.seeds, a.inference_steps, a.guidance, a.output / f"{a.concept.name}.png")


if __name__ == "__main__":
    main()
