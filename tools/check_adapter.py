"""Check that ONNX Runtime reads a `.onnx_adapter` as `infusion concept export` wrote it.

Compares every parameter with the concept file (f32 or f16, read by the safetensors package), then runs a
tiny model whose optional input `infusion.delta` the adapter feeds. Takes a second. Example:

    infusion concept export ball.safetensors -o ball.onnx_adapter --tokens 5
    python tools/check_adapter.py ball.safetensors ball.onnx_adapter
"""

import argparse
import re

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper
from safetensors.numpy import load_file


def natural(name: str) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def model(parameters: dict[str, np.ndarray]) -> bytes:
    """Doubles its optional inputs, which are zeros if they are not fed."""
    nodes, inputs, outputs, defaults = [], [], [], []
    for name, value in parameters.items():
        code = helper.np_dtype_to_tensor_dtype(value.dtype)
        dims = [f"{name}.{axis}" for axis in range(value.ndim)]
        nodes.append(helper.make_node("Add", [name, name], [f"{name}.twice"]))
        inputs.append(helper.make_tensor_value_info(name, code, dims))
        outputs.append(helper.make_tensor_value_info(f"{name}.twice", code, dims))
        defaults.append(numpy_helper.from_array(np.zeros([1] * value.ndim, value.dtype), name))
    graph = helper.make_graph(nodes, "twice", inputs, outputs, defaults)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("concept")
    parser.add_argument("adapter")
    args = parser.parse_args()

    layers = load_file(args.concept)
    expected = np.concatenate([layers[name] for name in sorted(layers, key=natural)], axis=1).astype(np.float32)
    adapter = onnxruntime.AdapterFormat.read_adapter(args.adapter)
    parameters = {name: value.numpy() for name, value in adapter.get_parameters().items()}
    delta = parameters["infusion.delta"]
    np.testing.assert_array_equal(delta.astype(np.float32), expected.astype(delta.dtype).astype(np.float32))
    for name, value in parameters.items():
        print(f"{name} {value.dtype} {list(value.shape)}, {np.count_nonzero(value)} numbers are not 0")

    lora = onnxruntime.LoraAdapter()
    lora.Load(args.adapter)
    options = onnxruntime.RunOptions()
    options.add_active_adapter(lora)
    session = onnxruntime.InferenceSession(model(parameters), providers=["CPUExecutionProvider"])
    assert not any(output.any() for output in session.run(None, {}))
    for output, value in zip(session.run(None, {}, options), parameters.values(), strict=True):
        np.testing.assert_array_equal(output, 2 * value)
    print(f"onnxruntime {onnxruntime.__version__} reads and feeds it")


if __name__ == "__main__":
    main()
