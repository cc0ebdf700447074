"""What both hosts share: the folders that they load, what a session is fed, and the pictures' comparison.

A host is a program that nobody here wrote. It loads a pipeline's folder; where a graph of `infusion-patch` lies
in the place of `unet/model.onnx`, it must draw the same picture, and the concept's where that graph is fed (or
carries the concept).
"""

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]
# Hosts multiply and add in another order than the plug-in, and rounding to 8 bits can go either way: a level of
# 255, or a few where a whole run of steps carries the difference along. A concept changes hundreds of pixels by tens.
ROUNDING = 3
# A picture without the concept and one with it are at least this far apart somewhere.
DIFFERENT = 8


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, default=ROOT / "target/release", help="folder of infusion, infusion-patch")
    parser.add_argument("--model", type=Path, default=ROOT / "models/demo")
    parser.add_argument("--concept", type=Path, default=ROOT / "models/concepts/two_tone_ball.safetensors")
    parser.add_argument("--word", default="ball", help="the word of the prompt that stands for the concept")
    parser.add_argument("--prompt", default="a photo of a ball in the snow")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--output", type=Path, default=ROOT / "target/hosts", help="folder of pipelines and pictures")
    return parser.parse_args()


class Folders:
    """Copies of the pipeline: as it is, with the shared graph for its UNet, with a graph that carries the concept."""

    def __init__(self, options: argparse.Namespace, rows: list[int]):
        self.patch = options.programs / "infusion-patch"
        self.plain = copy(options.model, options.output / "plain")
        subprocess.run([self.patch, self.plain / "unet/model.onnx", "--emit", "shared", "--self-contained"], check=True)
        self.shared = self.with_unet("shared", self.plain / "unet/model.shared.onnx", options.output)
        bake = ["--bake", options.concept, "--token-rows", ",".join(map(str, rows)), "--self-contained"]
        subprocess.run([self.patch, self.plain / "unet/model.onnx", *bake], check=True)
        baked = next((self.plain / "unet").glob("model.shared.*.onnx"))
        self.baked = self.with_unet("baked", baked, options.output)

    def with_unet(self, name: str, graph: Path, output: Path) -> Path:
        folder = copy(self.plain, output / name)
        (folder / "unet/model.onnx").unlink()
        shutil.copy(graph, folder / "unet/model.onnx")
        return folder


def copy(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.infusion.json", "model.*.onnx", "*.png"))


def token_rows(tokenizer, prompt: str, word: str) -> list[int]:
    """The rows of the prompt's hidden states that hold `word`, the start token being row 0."""
    phrase = tokenizer(word, add_special_tokens=False)["input_ids"]
    ids = tokenizer(prompt)["input_ids"]
    starts = [at for at in range(len(ids)) if ids[at : at + len(phrase)] == phrase]
    if not starts:
        raise SystemExit(f"the prompt '{prompt}' has no '{word}'")
    return [row for at in starts for row in range(at, at + len(phrase))]


def natural(name: str) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def feeds(concept: Path, rows: list[int], tokens: int = 77) -> dict[str, np.ndarray]:
    """`infusion.delta` [S, D], the layers side by side in order, and `infusion.mask` [1, L, S]."""
    layers = load_file(concept)
    if any(value.dtype.kind != "f" for value in layers.values()):
        raise SystemExit(f"{concept}: write it as f32 first: infusion concept convert --precision f32")
    delta = np.concatenate([layers[name] for name in sorted(layers, key=natural)], axis=1).astype(np.float32)
    mask = np.zeros((1, tokens, len(delta)), np.float32)
    for index, row in enumerate(rows):
        mask[0, row, index % len(delta)] = 1
    return {"infusion.mask": mask, "infusion.delta": delta}


class Fed:
    """An `onnxruntime.InferenceSession` that adds inputs to each run; everything else is the session's own."""

    def __init__(self, session, extra: dict[str, np.ndarray]):
        self.session, self.extra = session, extra

    def run(self, names, inputs, options=None):
        return self.session.run(names, {**inputs, **self.extra}, options)

    def __getattr__(self, name):
        return getattr(self.session, name)


def start_noise(options: argparse.Namespace) -> torch.Tensor:
    """What `infusion generate --seed` starts from."""
    generator = torch.Generator().manual_seed(options.seed)
    return torch.randn(1, 4, options.size // 8, options.size // 8, generator=generator)


def by_infusion(options: argparse.Namespace, folder: Path, name: str, prompt: str, *more: str) -> np.ndarray:
    """The picture of `infusion generate`, F on C's latent as in the shared graph."""
    output = options.output / name
    command = [options.programs / "infusion", "generate", prompt, "--model", folder, "-o", output, "--overwrite"]
    settings = {"seed": options.seed, "steps": options.steps, "guidance-scale": options.guidance_scale}
    settings |= {"width": options.size, "height": options.size, "streams": "shared"}
    pairs = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    subprocess.run([*command, *pairs, "--quiet", *more], check=True)
    return np.asarray(Image.open(output).convert("RGB"), np.int16)


def examine(options: argparse.Namespace, load, draw, rows: list[int]) -> None:
    """Draws what the host must draw and compares; `load(folder, extra)` gives a pipeline, `draw(it)` a picture."""
    folders = Folders(options, rows)
    extra = feeds(options.concept, rows)

    def picture(name: str, folder: Path, extra=None) -> np.ndarray:
        image = draw(load(folder, extra))
        image.save(options.output / f"{name}.png")
        return np.asarray(image.convert("RGB"), np.int16)

    plain = picture("host-plain", folders.plain)
    unfed = picture("host-shared-unfed", folders.shared)
    fed = picture("host-shared-fed", folders.shared, extra)
    baked = picture("host-baked", folders.baked)
    marked = options.prompt.replace(options.word, f"<{options.word}>", 1)
    own_plain = by_infusion(options, folders.plain, "infusion-plain.png", options.prompt)
    own = by_infusion(options, folders.plain, "infusion-concept.png", marked, "-c", f"{options.word}={options.concept}")

    checks = [
        ("shared graph unfed, against the exported UNet", unfed, plain),
        ("exported UNet, against infusion generate", plain, own_plain),
        ("shared graph fed, against infusion generate", fed, own),
        ("baked graph, against the fed one", baked, fed),
    ]
    failed = [name for name, a, b in checks if not report(name, a, b, lambda most: most <= ROUNDING)]
    name = "shared graph fed, against the exported UNet: must differ"
    failed += [] if report(name, fed, plain, lambda most: most >= DIFFERENT) else [name]
    if failed:
        raise SystemExit(f"{len(failed)} checks failed")


def report(name: str, a: np.ndarray, b: np.ndarray, holds) -> bool:
    apart = np.abs(a - b)
    good = holds(apart.max())
    print(f"{'ok  ' if good else 'FAIL'} {name}: largest {apart.max()}, mean {apart.mean():.4f} of 255 levels")
    return good
