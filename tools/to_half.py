#!/usr/bin/env python3
"""Writes a pipeline's copy with its UNet in half precision, for checks of fp16 on a GPU.

    tools/to_half.py models/demo target/demo-fp16

Inputs and outputs become fp16, too. Norms and what fp16 kernels lack stay in fp32, with casts around them.
Text encoder, VAE and the rest are copied as they are.
"""

import argparse
import pathlib
import shutil
import sys

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

FP32 = ("InstanceNormalization", "LayerNormalization", "Resize", "Range", "Sin", "Cos", "Exp", "Pow", "ReduceMean")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    options = parser.parse_args()
    own = shutil.ignore_patterns("model.*.onnx", "*.infusion.json")
    shutil.copytree(options.model, options.out, ignore=own, dirs_exist_ok=True)
    path = options.out / "unet/model.onnx"
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    half = convert_float_to_float16(model, keep_io_types=False, op_block_list=list(FP32), disable_shape_infer=True)
    onnx.save(half, path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
