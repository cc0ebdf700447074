"""One dialect's entry in index.json, read from the files themselves, and its check against the reference."""

import numpy as np
import onnx
import onnxruntime
import reference
from networks import ROWS

TYPES = {1: "float32", 6: "int32", 10: "float16", 7: "int64", 11: "float64"}
NUMPY = {"float32": np.float32, "float16": np.float16, "int64": np.int64, "int32": np.int32, "float64": np.float64}


def entry(dialect, folder):
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    inputs = [describe(i) for i in model.graph.input]
    facts = {
        "name": dialect.name,
        "file": f"{dialect.name}/model.onnx",
        "files": sorted(p.name for p in folder.iterdir() if p.is_file()),
        "about": dialect.about,
        "exporter": dialect.exporter,
        "opset": next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
        "dtype": inputs[0]["type"],
        "expect": dialect.expect,
        "runs_on_cpu": dialect.runs_on_cpu,
        "inputs": inputs,
        "outputs": [describe(o) for o in model.graph.output],
    }
    if dialect.expect == "patch":
        facts |= reference.modules(dialect.reference) | {
            "reference": f"reference/{dialect.reference}.safetensors",
            "timestep": timestep(inputs),
            "batch": "dynamic" if isinstance(inputs[0]["dims"][0], str) else inputs[0]["dims"][0],
            "spatial": "dynamic" if isinstance(inputs[0]["dims"][2], str) else inputs[0]["dims"][2],
            "tolerance": dialect.tolerance,
        }
    facts["source_difference"] = difference(dialect, folder, inputs) if dialect.runs_on_cpu else None
    return facts


def describe(value):
    tensor = value.type.tensor_type
    dims = [d.dim_param or d.dim_value if d.WhichOneof("value") else "?" for d in tensor.shape.dim]
    return {"name": value.name, "type": TYPES[tensor.elem_type], "dims": dims}


def timestep(inputs):
    (found,) = [i for i in inputs if i["name"] == "timestep"]
    return {"type": found["type"], "dims": found["dims"]}


def difference(dialect, folder, inputs):
    """Largest difference from torch's output, relative to its largest element; fails above the tolerance."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    if dialect.expect != "patch":
        return None
    wanted = reference.tensors(dialect.reference)
    (out, *_) = session.run(None, {i["name"]: feed(i, wanted) for i in inputs})
    expected = wanted["output"].numpy()
    found = float(np.abs(out.astype(np.float64) - expected).max() / np.abs(expected).max())
    if not found <= dialect.tolerance:
        raise SystemExit(f"{dialect.name}: differs from torch by {found:.2e}, over {dialect.tolerance:.0e}")
    return float(f"{found:.2g}")


def feed(wanted, tensors):
    """A reference input in the graph's own type and dims; inputs that the reference lacks are zero."""
    dims = [d if isinstance(d, int) else ROWS if i == 0 else None for i, d in enumerate(wanted["dims"])]
    if wanted["name"] == "timestep":
        value = np.full(dims, tensors["timestep"].item())
    elif wanted["name"] in tensors:
        value = tensors[wanted["name"]].numpy()
    else:
        value = np.zeros(extra_dims(wanted["name"], dims))
    return value.astype(NUMPY[wanted["type"]], order="C")


def extra_dims(name, dims):
    from catalogue import RESIDUALS

    return RESIDUALS[name].shape if name in RESIDUALS else dims
