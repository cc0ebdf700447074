"""Train the toys of the paper's figures 4 and 5 and export them to examples/toys/models (about two minutes).

Two mixtures in the plane: four Gaussians, each a class of its own (figure 4), and 25 of one class (figure 5). A
small denoiser has the parts that the method is about: three cross-attention layers over a context of two tokens,
the class and an empty one. Exported twice, with every weight as an input, so that an example can tune them:

  denoiser.onnx    sample, timestep, context, weights      -> noise, probs.0..2
  customised.onnx  sample, timestep, context, weights, probs.0..2, delta [3, width] -> noise

The weights of each toy are in a .safetensors file beside them.
"""

import argparse
import json
import math
from pathlib import Path

import onnx
import torch
from diffusers import DDIMScheduler
from onnx import TensorProto, helper
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
WIDTH, CONTEXT, LAYERS, FREQUENCIES, SCALES = 64, 8, 3, 8, (1.0, 2.0, 4.0)
BATCH = 512
SCHEDULER = dict(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
    clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="epsilon",
)  # fmt: skip

FOUR = {"centres": [[-1.2, 1.2], [1.2, 1.2], [-1.2, -1.2], [1.2, -1.2]], "classes": [0, 1, 2, 3], "deviation": 0.3}
GRID = [-1.6, -0.8, 0.0, 0.8, 1.6]
TWENTY_FIVE = {"centres": [[x, y] for y in reversed(GRID) for x in GRID], "classes": [0] * 25, "deviation": 0.12}
TOYS = {"four": FOUR, "twenty_five": TWENTY_FIVE}


class Denoiser(torch.nn.Module):
    """ε(z, t, context); with `probs` and `delta` the customised stream: maps from outside, Δ on the class token's value."""

    def __init__(self):
        super().__init__()
        weight = lambda rows, columns, gain=1.0: torch.nn.Parameter(torch.randn(rows, columns) * gain / math.sqrt(rows))  # noqa: E731
        bias = lambda columns: torch.nn.Parameter(torch.zeros(columns))  # noqa: E731
        self.w_in, self.b_in = weight(2 + 4 * len(SCALES) + 2 * FREQUENCIES, WIDTH), bias(WIDTH)
        for layer in range(LAYERS):
            for name, rows in (("q", WIDTH), ("k", CONTEXT), ("v", CONTEXT), ("o", WIDTH), ("up", WIDTH), ("down", WIDTH)):
                gain = 0.3 if name in ("o", "down") else 1.0
                self.register_parameter(f"w_{name}_{layer}", weight(rows, WIDTH, gain))
            self.register_parameter(f"b_up_{layer}", bias(WIDTH))
        self.w_out, self.b_out = weight(WIDTH, 2, 0.1), bias(2)

    def forward(self, sample, timestep, context, probs=None, delta=None):
        frequencies = torch.tensor([2.0**k * math.pi / 2000 for k in range(FREQUENCIES)])
        angles = timestep[:, None] * frequencies
        places = torch.cat([sample * scale * math.pi / 1.6 for scale in SCALES], 1)
        features = [sample, places.sin(), places.cos(), angles.sin(), angles.cos()]
        hidden = torch.cat(features, 1) @ self.w_in + self.b_in
        maps = []
        for layer in range(LAYERS):
            own = {name: getattr(self, f"w_{name}_{layer}") for name in ("q", "k", "v", "o", "up", "down")}
            value = context @ own["v"]
            if probs is None:
                scores = (hidden @ own["q"])[:, None] @ (context @ own["k"]).transpose(1, 2)
                share = torch.softmax(scores * WIDTH**-0.5, -1)
                maps.append(share)
            else:
                share = probs[layer]
                value = value + torch.tensor([[[1.0], [0.0]]]) * delta[layer]
            hidden = hidden + (share @ value)[:, 0] @ own["o"]
            up = hidden @ own["up"] + getattr(self, f"b_up_{layer}")
            hidden = hidden + (up * torch.sigmoid(up)) @ own["down"]
        noise = hidden @ self.w_out + self.b_out
        return (noise, *maps) if probs is None else noise


class Customised(torch.nn.Module):
    def __init__(self, denoiser):
        super().__init__()
        self.denoiser = denoiser

    def forward(self, sample, timestep, context, first, second, third, delta):
        return self.denoiser(sample, timestep, context, (first, second, third), delta)


def contexts() -> torch.Tensor:
    """[4, 2, CONTEXT]: a token for each class, then the empty one."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(5, CONTEXT, generator=generator)
    return torch.stack([torch.stack([tokens[k], tokens[4]]) for k in range(4)])


def train(toy: dict, steps: int) -> Denoiser:
    torch.manual_seed(0)
    model, scheduler, context = Denoiser(), DDIMScheduler(**SCHEDULER), contexts()
    centres, classes = torch.tensor(toy["centres"]), torch.tensor(toy["classes"])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        peak = torch.randint(len(centres), (BATCH,))
        clean = centres[peak] + toy["deviation"] * torch.randn(BATCH, 2)
        noise, timestep = torch.randn(BATCH, 2), torch.randint(1000, (BATCH,))
        noised = scheduler.add_noise(clean, noise, timestep)
        loss = torch.nn.functional.mse_loss(model(noised, timestep.float(), context[classes[peak]])[0], noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        if (step + 1) % 1000 == 0:
            print(f"step {step + 1} loss {loss.item():.4f}", flush=True)
    return model


def export(module: torch.nn.Module, inputs: dict, outputs: list[str], path: Path) -> None:
    axes = {name: {0: "batch"} for name in [*inputs, *outputs] if name != "delta"}
    torch.onnx.export(
        module, tuple(inputs.values()), str(path), input_names=list(inputs), output_names=outputs, dynamic_axes=axes,
        opset_version=17, dynamo=False,
    )  # fmt: skip
    model = onnx.load(path)
    names = {name for name, _ in module.named_parameters()}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in names]
    for tensor in model.graph.initializer:
        if tensor.name in names:
            name = tensor.name.removeprefix("denoiser.")
            model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(tensor.dims)))
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for node in model.graph.node:
        node.ClearField("doc_string")
        node.input[:] = [name.removeprefix("denoiser.") if name in names else name for name in node.input]
    onnx.checker.check_model(model)
    onnx.save(model, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "examples/toys/models")
    parser.add_argument("--steps", type=int, default=5000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, toy in TOYS.items():
        print(name)
        model = train(toy, arguments.steps)
        save_file({key: value.detach().contiguous() for key, value in model.named_parameters()}, arguments.out / f"{name}.safetensors")
    rows = {"sample": torch.randn(3, 2), "timestep": torch.rand(3), "context": contexts()[:3]}
    maps = {f"probs.{k}": torch.rand(3, 1, 2) for k in range(LAYERS)}
    export(model, rows, ["noise", *maps], arguments.out / "denoiser.onnx")
    export(Customised(model), {**rows, **maps, "delta": torch.randn(LAYERS, WIDTH)}, ["noise"], arguments.out / "customised.onnx")
    described = {"scheduler": SCHEDULER, "width": WIDTH, "layers": LAYERS, "contexts": contexts().tolist(), "toys": TOYS}
    (arguments.out / "toys.json").write_text(json.dumps(described) + "\n")


if __name__ == "__main__":
    main()
