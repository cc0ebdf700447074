"""Export to the folder layout that optimum, diffusers and OnnxStack share, as optimum does it.

TorchScript exporter, opset 17, scaled_dot_product_attention, batch and picture size dynamic. Weights are rounded
to half precision first, stored so, and cast to float32 where they are used (ONNX Runtime folds the casts when it
loads), so torch and ONNX compute with the same numbers.
"""

from __future__ import annotations

import copy
import json
import shutil
import types
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from diffusers import AutoencoderKL
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import networks
from train import Networks

OPSET = 17
SMALLEST_HALF = 64


class TextEncoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.text_model = model

    def forward(self, input_ids):
        output = self.text_model(input_ids=input_ids)
        return output.last_hidden_state, output.pooler_output


def with_forward(model: nn.Module, forward) -> nn.Module:
    """A copy that runs `forward(copy, ...)`: exported so, module paths start at the model itself, as optimum's do."""
    result = copy.deepcopy(model)
    result.forward = types.MethodType(forward, result)
    return result


def denoise(unet, sample, timestep, encoder_hidden_states):
    return type(unet).forward(unet, sample, timestep, encoder_hidden_states, return_dict=False)[0]


def encode(vae, sample):
    return vae.quant_conv(vae.encoder(sample))


def decode(vae, latent_sample):
    return vae.decode(latent_sample, return_dict=False)[0]


def rounded_to_half(model: nn.Module) -> nn.Module:
    """A float32 copy whose parameters are exact in half precision."""
    result = copy.deepcopy(model).eval()
    with torch.no_grad():
        for parameter in result.parameters():
            parameter.copy_(parameter.half().float())
    return result


def export_onnx(module: nn.Module, inputs: dict, outputs: list[str], axes: dict, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(file),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )
    model = onnx.load(file)
    store_as_half(model)
    onnx.checker.check_model(model)
    onnx.save(model, file)


def store_as_half(model: onnx.ModelProto) -> None:
    """Replace each float32 initializer of some size by a half-precision one and a Cast of the old name."""
    casts = []
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < SMALLEST_HALF:
            continue
        if not np.array_equal(values.astype(np.float16).astype(np.float32), values):
            raise ValueError(f"{tensor.name} is not exact in half precision")
        name = tensor.name
        half = numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [name], f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def export_text_encoder(model: nn.Module, folder: Path) -> None:
    tokens = torch.full((1, 77), model.config.eos_token_id, dtype=torch.int32)
    batch = {0: "batch_size"}
    axes = {"input_ids": batch | {1: "sequence_length"}, "last_hidden_state": batch | {1: "sequence_length"}}
    outputs = ["last_hidden_state", "pooler_output"]
    axes["pooler_output"] = batch
    export_onnx(TextEncoder(model), {"input_ids": tokens}, outputs, axes, folder / "model.onnx")
    model.config.save_pretrained(folder)


def export_unet(unet: nn.Module, folder: Path) -> None:
    inputs = {
        "sample": torch.randn(2, 4, 16, 16),
        "timestep": torch.tensor([500]),
        "encoder_hidden_states": torch.randn(2, 77, unet.config.cross_attention_dim),
    }
    spatial = {0: "batch_size", 2: "height", 3: "width"}
    context = {0: "batch_size", 1: "sequence_length"}
    axes = {"sample": spatial, "timestep": {0: "steps"}, "encoder_hidden_states": context, "out_sample": spatial}
    export_onnx(with_forward(unet, denoise), inputs, ["out_sample"], axes, folder / "model.onnx")
    unet.save_config(folder)


def export_vae(vae: AutoencoderKL, encoder: Path, decoder: Path) -> None:
    def axes(first: str, second: str, prefix: tuple[str, str]) -> dict:
        names = {first: prefix[0], second: prefix[1]}
        return {name: {0: "batch_size", 2: f"{p}height", 3: f"{p}width"} for name, p in names.items()}

    export_onnx(
        with_forward(vae, encode),
        {"sample": torch.randn(1, 3, 128, 128)},
        ["latent_parameters"],
        axes("sample", "latent_parameters", ("", "latent_")),
        encoder / "model.onnx",
    )
    export_onnx(
        with_forward(vae, decode),
        {"latent_sample": torch.randn(1, 4, 16, 16)},
        ["sample"],
        axes("latent_sample", "sample", ("latent_", "")),
        decoder / "model.onnx",
    )
    vae.save_config(encoder)
    vae.save_config(decoder)


def model_index() -> dict:
    model = ["diffusers", "OnnxRuntimeModel"]
    return {
        "_class_name": "OnnxStableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": model,
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": model,
        "vae_decoder": model,
        "vae_encoder": model,
    }


def without_private(file: Path) -> None:
    """Drop the keys that tell where the weights came from on the building machine."""
    config = json.loads(file.read_text())
    config = {key: value for key, value in config.items() if key != "_name_or_path"}
    file.write_text(json.dumps(config, indent=2) + "\n")


def export_all(trained: Networks, vae: AutoencoderKL, tokenizer_folder: Path, target: Path, torch_folder: Path) -> None:
    """Write the ONNX folder `target` and, with the very same numbers, torch weights under `torch_folder`."""
    unet, text, vae = (rounded_to_half(model) for model in (trained.unet, trained.text_encoder, vae))
    shutil.copytree(tokenizer_folder, target / "tokenizer", dirs_exist_ok=True)
    export_text_encoder(text, target / "text_encoder")
    export_unet(unet, target / "unet")
    export_vae(vae, target / "vae_encoder", target / "vae_decoder")
    networks.new_scheduler().save_config(target / "scheduler")
    (target / "model_index.json").write_text(json.dumps(model_index(), indent=2) + "\n")
    for config in target.glob("*/config.json"):
        without_private(config)
    for name, model in {"unet": unet, "text_encoder": text, "vae": vae}.items():
        copy.deepcopy(model).half().save_pretrained(torch_folder / name, safe_serialization=True)
    networks.new_scheduler().save_pretrained(torch_folder / "scheduler")
    shutil.copytree(tokenizer_folder, torch_folder / "tokenizer", dirs_exist_ok=True)
