"""Exports a UNet of SD-1.5's size (860 M parameters, random weights) for benchmarks.

    tools/full_size.py [--out target/full-size] [--precision fp32|fp16|int8] [--attention sdpa|baddbmm] [--opset 17]

fp32 writes <out>/fp32/unet/model.onnx and model.onnx_data (3.4 GB); fp16 one file of 1.7 GB; int8 quantises the
MatMuls of the fp32 export dynamically (which it makes first). Minutes each on two cores; the UNet is traced with
empty weights, which are drawn tensor by tensor straight into the file, so memory stays under 4 GB
(int8: about 9 GB).
"""

import argparse
import contextlib
import io
import pathlib
import resource
import sys
import tempfile
import time
import warnings

import numpy as np
import onnx
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROCESSORS = {"sdpa": AttnProcessor2_0, "baddbmm": AttnProcessor}
SD15 = dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
LARGE = 4096  # bytes from which a tensor is a weight to be drawn, and goes to the external file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target/full-size")
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), default="fp32")
    parser.add_argument("--attention", choices=PROCESSORS, default="sdpa")
    parser.add_argument("--opset", type=int, default=17)
    options = parser.parse_args()
    start = time.time()
    folder = options.out / options.precision / "unet"
    folder.mkdir(parents=True, exist_ok=True)
    if options.precision == "int8":
        quantise(options, folder)
    else:
        export(options, folder)
    size = sum(f.stat().st_size for f in folder.iterdir())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{folder}: {size / 2**30:.2f} GiB in {time.time() - start:.0f} s, {peak:.1f} GiB of memory")


class Exported(UNet2DConditionModel):
    def forward(self, sample, timestep, encoder_hidden_states):
        return super().forward(sample, timestep, encoder_hidden_states, return_dict=False)[0]


def export(options, folder):
    half = options.precision == "fp16"
    unet = network().to(torch.float16 if half else torch.float32)
    unet.__class__ = Exported
    unet.set_attn_processor(PROCESSORS[options.attention]())
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        traced = pathlib.Path(scratch) / "traced.onnx"
        trace(unet, traced, options.opset)
        weights = {n: tuple(p.shape) for n, p in unet.named_parameters()}
        del unet
        draw(traced, folder, weights, half)


def network():
    """The UNet without the minutes of default initialisation; of its weights, the exporter only compares values.

    It stores equal ones once, so each begins with a number of its own (below 2048, exact in half precision).
    """
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD15)
    unet = unet.to_empty(device="cpu").eval().requires_grad_(False)
    for number, weight in enumerate(unet.parameters(), 1):
        weight.view(-1)[0] = number
    return unet


def trace(unet, path, opset):
    free = {"sample": {0: "batch", 2: "height", 3: "width"}, "encoder_hidden_states": {0: "batch", 1: "sequence"}}
    inputs = (
        torch.randn(2, 4, 8, 8, dtype=unet.dtype),
        torch.tensor(1),
        torch.randn(2, 77, SD15["cross_attention_dim"], dtype=unet.dtype),
    )
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            unet,
            inputs,
            str(path),
            input_names=["sample", "timestep", "encoder_hidden_states"],
            output_names=["out_sample"],
            dynamic_axes={**free, "out_sample": free["sample"]},
            opset_version=opset,
            dynamo=False,
            export_params=True,
        )


def draw(traced, folder, weights, half):
    """Fills every weight with fresh numbers of a sensible spread, one at a time, where the file wants them."""
    model = onnx.load(traced, load_external_data=False)
    random = np.random.default_rng(0)
    dtype = np.float16 if half else np.float32
    offset = 0
    data = None if half else open(folder / "model.onnx_data", "wb")
    for tensor in model.graph.initializer:
        count = int(np.prod(tensor.dims))
        if tensor.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
            continue
        if tensor.name not in weights and not tensor.name.startswith("onnx::") and count < LARGE:
            continue
        raw = drawn(tensor, count, random).astype(dtype).tobytes()
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT
        if data is None or len(raw) < LARGE:
            tensor.raw_data = raw
            continue
        offset += data.write(b"\0" * (-offset % 4096))
        data.write(raw)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": "model.onnx_data", "offset": offset, "length": len(raw)}.items():
            tensor.external_data.add(key=key, value=str(value))
        offset += len(raw)
    if data:
        data.close()
    with open(folder / "model.onnx", "wb") as file:
        file.write(model.SerializeToString())


def drawn(tensor, count, random):
    """Weights by their fan-in (second dim on; MatMul operands are stored [in,out]), norms near one, biases small."""
    if len(tensor.dims) < 2 or count == max(tensor.dims):
        scale = "Mul" in tensor.name or ("norm" in tensor.name and tensor.name.endswith("weight"))
        centre = 1.0 if scale else 0.0
        return centre + 0.05 * random.standard_normal(count, dtype=np.float32)
    fan_in = tensor.dims[0] if len(tensor.dims) == 2 else count // tensor.dims[0]
    pool = random.standard_normal(min(count, 1 << 20), dtype=np.float32) * (0.7 / np.sqrt(fan_in))
    return np.resize(pool, count)


def quantise(options, folder):
    from onnxruntime.quantization import quantize_dynamic

    source = options.out / "fp32" / "unet"
    if not (source / "model.onnx").exists():
        source.mkdir(parents=True, exist_ok=True)
        options.precision = "fp32"
        export(options, source)
    quantize_dynamic(
        source / "model.onnx",
        folder / "model.onnx",
        op_types_to_quantize=["MatMul", "Gemm"],
        use_external_data_format=True,
    )


if __name__ == "__main__":
    sys.exit(main())
