"""What all methods of the comparison share: the demo model in torch, a concept's pictures, and the loop of training.

A method is a file in this folder with a class that is a `Method`; `train.METHODS` lists them. Identifier: methods that
need a word of their own get the letter "q", a token of the vocabulary that no caption uses, as DreamBooth takes a rare
token; a new token would not survive in every host's tokenizer.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from PIL import Image
from torch.nn import functional
from transformers import CLIPTokenizer

TOOLS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOOLS / "demo_model"))
import captions  # noqa: E402, F401  (for the methods)
import export  # noqa: E402
import networks  # noqa: E402
import paths  # noqa: E402
import world  # noqa: E402, F401
from torch_from_onnx import load_torch  # noqa: E402
from train_concept_torch import Streams  # noqa: E402, F401
from vae import to_pixels  # noqa: E402

IDENTIFIER = "q"
WORK = paths.REPOSITORY / "target" / "comparison"
CONCEPTS = ("two_tone_ball", "red_roof_house", "iced_doughnut")
SAMPLES, INFERENCE_STEPS = 80, 25


@dataclasses.dataclass(frozen=True)
class Concept:
    """A folder of models/concepts."""

    folder: Path
    content: dict

    @classmethod
    def open(cls, folder: Path) -> Concept:
        return cls(folder, json.loads((folder / "prompts.json").read_text()))

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def word(self) -> str:
        return self.content["class"]

    def pictures(self, kind: str) -> tuple[np.ndarray, list[str]]:
        """`pictures` or `class_pictures`: bytes [N, H, W, 3] and their prompts."""
        entries = self.content[kind]
        pictures = [np.asarray(Image.open(self.folder / entry["file"]).convert("RGB")) for entry in entries]
        return np.stack(pictures), [entry["prompt"] for entry in entries]


class Model:
    """The demo model in torch, frozen; `fresh` gives a method its own copy."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.unet, self.text, self.vae = load_torch(folder)
        for module in (self.unet, self.text, self.vae):
            module.requires_grad_(False)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
        self.contexts: dict[str, torch.Tensor] = {}

    def fresh(self) -> Model:
        other = copy.copy(self)
        other.contexts = {}
        other.unet, other.text = copy.deepcopy(self.unet), copy.deepcopy(self.text)
        return other

    def ids(self, prompts: list[str]) -> torch.Tensor:
        return networks.token_ids(self.tokenizer, prompts)

    def embed(self, prompts: list[str]) -> torch.Tensor:
        """Contexts [B, 77, width]; while no part of the text encoder learns, each prompt is encoded once."""
        if any(parameter.requires_grad for parameter in self.text.parameters()):
            return self.text(self.ids(prompts)).last_hidden_state
        unknown = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.contexts]
        if unknown:
            with torch.no_grad():
                self.contexts |= zip(unknown, self.text(self.ids(unknown)).last_hidden_state)
        return torch.stack([self.contexts[prompt] for prompt in prompts])

    def tokens(self, word: str) -> list[int]:
        return self.tokenizer(word, add_special_tokens=False).input_ids

    def places(self, prompts: list[str], word: str) -> torch.Tensor:
        """Where the word's tokens stand in each prompt, bool [B, 77]."""
        ids, wanted = self.ids(prompts), self.tokens(word)
        places = torch.zeros_like(ids, dtype=torch.bool)
        for row, tokens in enumerate(ids.tolist()):
            for start in range(len(tokens) - len(wanted) + 1):
                if tokens[start : start + len(wanted)] == wanted:
                    places[row, start : start + len(wanted)] = True
        return places

    @torch.no_grad()
    def encode(self, pictures: np.ndarray) -> torch.Tensor:
        return self.vae.encode(to_pixels(pictures)).latent_dist.mean * self.vae.config.scaling_factor


class Method:
    """One way to learn a concept. `model` is the method's own copy and may be changed."""

    name = ""
    source = ""
    rate = 0.0
    prior_weight = 0.0
    changes: frozenset[str] = frozenset({"unet", "text_encoder"})

    def __init__(self, model: Model, concept: Concept):
        self.model, self.concept = model, concept
        self.prepare()

    def prepare(self) -> None:
        """Makes what learns learn."""

    def parameters(self) -> list[torch.nn.Parameter]:
        raise NotImplementedError

    def prompt(self, plain: str) -> str:
        """What this method is asked in place of a prompt with the super-class word."""
        return plain.replace(self.concept.word, f"{IDENTIFIER} {self.concept.word}")

    def predict(self, noised, timesteps, prompts: list[str]) -> torch.Tensor:
        return self.model.unet(noised, timesteps, self.model.embed(prompts)).sample

    def after_step(self) -> None:
        """Whatever a method does between steps."""

    def stored(self) -> dict[str, torch.Tensor]:
        """What a user would keep: its bytes in half precision are the method's storage."""
        raise NotImplementedError

    def export(self, folder: Path) -> None:
        """A pipeline's folder in ONNX with the concept in it; unchanged parts are linked."""
        link_unchanged(self.model.folder, folder, self.changes)
        if "unet" in self.changes:
            export.export_unet(exportable(self.learned_unet()), folder / "unet")
        if "text_encoder" in self.changes:
            export.export_text_encoder(exportable(self.model.text), folder / "text_encoder")

    def learned_unet(self) -> torch.nn.Module:
        return self.model.unet


def exportable(module: torch.nn.Module) -> torch.nn.Module:
    """A copy whose numbers are exact in half precision, as the export stores them."""
    rounded = export.rounded_to_half(module)
    for buffer in rounded.buffers():
        if buffer.is_floating_point():
            buffer.copy_(buffer.half().float())
    return rounded


def link_unchanged(source: Path, folder: Path, changed: frozenset[str]) -> None:
    """Everything of `source` but the `changed` parts, by hard links where the file system has them."""
    shutil.rmtree(folder, ignore_errors=True)
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        part = file.relative_to(source)
        if part.parts[0] in changed or ".infusion" in file.name or len(file.suffixes) > 1:
            continue
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, folder / part)
        except OSError:
            shutil.copy(file, folder / part)


def names(text: str) -> list[str]:
    return text.split(",")


def write_whole(file: Path, text: str) -> None:
    """So that a file that is there is finished."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.replace(file)


def storage(stored: dict[str, torch.Tensor]) -> int:
    return sum(2 * tensor.numel() for tensor in stored.values())


def fit(method: Method, steps: list[int], batch: int, seed: int, at_step) -> list[float]:
    """Trains to the last of `steps` and calls `at_step(n)` at each; the losses."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    pictures, prompts = method.concept.pictures("pictures")
    latents, prompts = method.model.encode(pictures), [method.prompt(prompt) for prompt in prompts]
    others, other_prompts = method.concept.pictures("class_pictures")
    others = method.model.encode(others)
    optimizer, losses = torch.optim.AdamW(method.parameters(), method.rate, weight_decay=0.0), []

    def draw(latents: torch.Tensor, prompts: list[str]):
        chosen = torch.randint(len(latents), (batch,), generator=generator)
        timesteps = torch.randint(1000, (batch,), generator=generator)
        noise = torch.randn(latents[chosen].shape, generator=generator)
        noised = method.model.scheduler.add_noise(latents[chosen], noise, timesteps)
        return noised, timesteps, noise, [prompts[k] for k in chosen.tolist()]

    for step in range(1, max(steps) + 1):
        noised, timesteps, noise, asked = draw(latents, prompts)
        if method.prior_weight:
            prior = draw(others, other_prompts)
            noised, timesteps, noise = (torch.cat(pair) for pair in zip((noised, timesteps, noise), prior))
            asked = asked + prior[3]
        error = functional.mse_loss(method.predict(noised, timesteps, asked), noise, reduction="none").flatten(1).mean(1)
        losses.append(error[:batch].mean().item())
        loss = error[:batch].mean() + method.prior_weight * error[batch:].sum() / batch
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step()
        if step in steps:
            with torch.no_grad():
                at_step(step)
    return losses
