"""Recover the torch (diffusers, transformers) weights from an exported folder, so that goldens can be made from it alone.

The exporter keeps the names of convolution, norm and embedding weights and transposes those of linear layers under
made-up names (`onnx::MatMul_123`, and likewise what group norms multiply and add); the node that uses such a weight
still carries its module path.
Use `load_torch(folder)`; run as a program it checks the recovered networks against ONNX Runtime.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from onnx import numpy_helper
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

import paths


MADE_UP = {"MatMul": "weight", "Mul": "weight", "Add": "bias"}


def plain(value: np.ndarray) -> np.ndarray:
    """As torch keeps it: linear weights [out, in]; what a group norm multiplies and adds, [C]."""
    return value.T if min(value.shape[:2]) > 1 else value.reshape(-1)


def weights(file: Path) -> dict[str, torch.Tensor]:
    """Every named parameter in the graph, float32, as torch shapes it, keyed by the exported module's names."""
    graph = onnx.load(file).graph
    stored = {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in stored and node.output[0] != node.input[0]:
            stored[node.output[0]] = stored[node.input[0]]
    found = {name: value for name, value in stored.items() if "::" not in name}
    for node in graph.node:
        operand = node.input[1] if len(node.input) == 2 else ""
        if node.op_type in MADE_UP and operand in stored and operand.startswith("onnx::"):
            path = node.name.removesuffix(f"/{node.op_type}").strip("/").replace("/", ".")
            found[f"{path}.{MADE_UP[node.op_type]}"] = plain(stored[operand])
    return {name: torch.from_numpy(np.array(value)) for name, value in found.items()}


def fill(model: nn.Module, found: dict[str, torch.Tensor]) -> None:
    """Load every parameter of the model; each must be there, in its shape."""
    for name, parameter in model.named_parameters():
        if name not in found:
            raise KeyError(f"no weight for {name} in the graph")
        if found[name].shape != parameter.shape:
            raise ValueError(f"{name}: {tuple(found[name].shape)} in the graph, {tuple(parameter.shape)} in the network")
        parameter.data.copy_(found[name])


def config(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


def load_unet(folder: Path) -> UNet2DConditionModel:
    unet = UNet2DConditionModel.from_config(config(folder / "unet"))
    fill(unet, weights(folder / "unet" / "model.onnx"))
    return unet.eval()


def load_text_encoder(folder: Path) -> CLIPTextModel:
    text = CLIPTextModel(CLIPTextConfig(**config(folder / "text_encoder")))
    found = weights(folder / "text_encoder" / "model.onnx")
    fill(text, found | {name.removeprefix("text_model."): value for name, value in found.items()})
    return text.eval()


def load_vae(folder: Path) -> AutoencoderKL:
    vae = AutoencoderKL.from_config(config(folder / "vae_decoder"))
    fill(vae, weights(folder / "vae_encoder" / "model.onnx") | weights(folder / "vae_decoder" / "model.onnx"))
    return vae.eval()


def load_torch(folder: Path) -> tuple[UNet2DConditionModel, CLIPTextModel, AutoencoderKL]:
    return load_unet(folder), load_text_encoder(folder), load_vae(folder)


@torch.no_grad()
def differences(folder: Path) -> dict[str, float]:
    """Largest absolute difference to ONNX Runtime for each network."""
    unet, text, vae = load_torch(folder)

    def run(name: str, **feed: torch.Tensor) -> torch.Tensor:
        session = onnxruntime.InferenceSession(folder / name / "model.onnx", providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(None, {key: value.numpy() for key, value in feed.items()})[0])

    torch.manual_seed(0)
    latents, pixels, step = torch.randn(2, 4, 16, 16), torch.rand(1, 3, 64, 64), torch.tensor([500])
    ids = torch.randint(0, text.config.vocab_size - 2, (2, 77), dtype=torch.int32)
    context = text(ids.long()).last_hidden_state
    pairs = {
        "text_encoder": (context, run("text_encoder", input_ids=ids)),
        "unet": (
            unet(latents, step, context).sample,
            run("unet", sample=latents, timestep=step, encoder_hidden_states=context),
        ),
        "vae_encoder": (vae.encode(pixels).latent_dist.parameters, run("vae_encoder", sample=pixels)),
        "vae_decoder": (vae.decode(latents).sample, run("vae_decoder", latent_sample=latents)),
    }
    return {name: (first - second).abs().max().item() for name, (first, second) in pairs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=paths.MODEL)
    parser.add_argument("--save", type=Path, help="write diffusers folders with float32 weights here")
    arguments = parser.parse_args()
    for name, difference in differences(arguments.model).items():
        print(f"{name}: {difference:.1e} from ONNX Runtime")
        if difference > 1e-3:
            raise SystemExit(f"{name} was not recovered")
    if arguments.save:
        for name, model in zip(("unet", "text_encoder", "vae"), load_torch(arguments.model)):
            model.save_pretrained(arguments.save / name)


if __name__ == "__main__":
    main()
