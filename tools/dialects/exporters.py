"""From a torch module to ONNX: the TorchScript exporter and torch dynamo."""

import contextlib
import io
import logging
import warnings

import onnx
import torch
from diffusers import UNet2DConditionModel

from networks import CONTEXT, ROWS, SIZE, TOKENS

logging.getLogger("torch.onnx").setLevel(logging.ERROR)

TIMESTEPS = {
    "int64 []": torch.tensor(401),
    "int64 [1]": torch.tensor([401]),
    "int64 [B]": torch.tensor([401] * ROWS),
    "float []": torch.tensor(401.0),
    "float [1]": torch.tensor([401.0]),
    "float [B]": torch.tensor([401.0] * ROWS),
}


def torchscript(unet, path, opset=17, timestep="int64 []", dynamic=True, extra=None):
    """Writes the UNet as one file; `extra` maps further input names to example tensors."""
    export(unet, path, timestep, dynamic, extra or {}, opset_version=opset, dynamo=False, do_constant_folding=True)


def dynamo(unet, path, opset=18, timestep="int64 []", dynamic=True, extra=None):
    """Writes the UNet as torch dynamo does, less its stack traces (paths of the machine that exported it)."""
    export(unet, path, timestep, dynamic, extra or {}, opset_version=opset, dynamo=True, external_data=False)
    model = onnx.load(path)
    for node in every_node(model):
        kept = [p for p in node.metadata_props if p.key in KEPT_METADATA]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, path)


KEPT_METADATA = ("namespace", "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy")


def every_node(model):
    yield from model.graph.node
    for function in model.functions:
        yield from function.node


def export(unet, path, timestep, dynamic, extra, dynamo, **options):
    dtype = unet.dtype
    size = 4 * SIZE if dynamo and dynamic else SIZE  # dynamo bakes every dim that is 1 in the example
    form = TIMESTEPS[timestep]
    form = form.to(dtype) if form.is_floating_point() else form
    inputs = {
        "sample": torch.randn(ROWS, 4, size, size, dtype=dtype),
        "timestep": form,
        "encoder_hidden_states": torch.randn(ROWS, TOKENS, CONTEXT, dtype=dtype),
        **{name: tensor.to(dtype) for name, tensor in extra.items()},
    }
    axes = free_axes(inputs, timestep) if dynamic else None
    if dynamo:
        options["dynamic_shapes"] = axes and for_dynamo(axes, inputs)
    elif dynamic:
        options["dynamic_axes"] = {**axes, "out_sample": {0: "batch", 2: "height", 3: "width"}}
    module = flat(unet, extra)
    write(module, inputs, path, dynamo=dynamo, **options)


def write(module, inputs, path, outputs=("out_sample",), **options):
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, tuple(inputs.values()), path, input_names=list(inputs), output_names=list(outputs), **options
        )


def free_axes(inputs, timestep):
    axes = {
        "sample": {0: "batch", 2: "height", 3: "width"},
        "encoder_hidden_states": {0: "batch", 1: "sequence"},
    }
    if timestep.endswith("[B]"):
        axes["timestep"] = {0: "batch"}
    for name in inputs:
        if "residual" in name:
            axes[name] = {0: "batch", 2: f"{name}_height", 3: f"{name}_width"}
        elif name == "timestep_cond":
            axes[name] = {0: "batch"}
    return axes


def for_dynamo(axes, inputs):
    """dynamo's form of the free axes: it may find relations between them."""
    return tuple({axis: torch.export.Dim.AUTO for axis in axes.get(name, {})} for name in inputs)


def flat(unet, extra):
    """The same UNet under a forward of plain tensors, without a wrapper that would prefix every node's name."""
    residuals = [n for n in extra if n.startswith("down_block_additional")]
    names = list(extra)

    class Flat(UNet2DConditionModel):
        def forward(self, sample, timestep, encoder_hidden_states, *more):
            more = dict(zip(names, more))
            down = tuple(more.pop(n) for n in residuals) or None
            mid = more.pop("mid_block_additional_residual", None)
            return super().forward(
                sample,
                timestep,
                encoder_hidden_states,
                down_block_additional_residuals=down,
                mid_block_additional_residual=mid,
                return_dict=False,
                **more,
            )[0]

    Flat.__name__ = "UNet2DConditionModel"
    unet.__class__ = Flat
    return unet
