"""Times the F edit (every cross-attention's probabilities and values as outputs) with onnx-graphsurgeon.

    tools/graphsurgeon_bench.py MODEL.onnx [--out FOLDER]

The measure that infusion-patch is held against: seconds and peak memory of import, edit and export. The edit here
knows one dialect only: Softmax nodes whose module is called attn2. Half a minute and 10 GB for a full-size UNet.
"""

import argparse
import json
import pathlib
import resource
import tempfile
import time

import onnx
import onnx_graphsurgeon as gs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, help="folder of the edited model (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or pathlib.Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(json.dumps(edit(options.model, folder / "model.f.onnx"), indent=1))


def edit(source, target):
    times, start = {}, time.perf_counter()

    def lap(name):
        nonlocal start
        now = time.perf_counter()
        times[name], start = now - start, now

    graph = gs.import_onnx(onnx.load(source))
    lap("import_s")
    found = [n for n in graph.nodes if n.op == "Softmax" and "attn2" in n.name]
    if not found:
        raise SystemExit(f"{source}: no Softmax node of a module named attn2")
    for i, softmax in enumerate(found):
        expose(graph, softmax.outputs[0], f"infusion.{i}.probs")
        expose(graph, projected_value(softmax), f"infusion.{i}.value")
    graph.toposort()
    lap("edit_s")
    model = gs.export_onnx(graph)
    external = source.stat().st_size + sum(f.stat().st_size for f in source.parent.glob("*data")) > 1 << 31
    onnx.save(model, target, save_as_external_data=external, location=target.name + "_data")
    lap("export_s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"layers": len(found), **times, "total_s": sum(times.values()), "peak_bytes": peak}


def expose(graph, tensor, name):
    output = gs.Variable(name, dtype=graph.inputs[0].dtype)
    graph.nodes.append(gs.Node("Identity", name, inputs=[tensor], outputs=[output]))
    graph.outputs.append(output)


def projected_value(softmax):
    """The to_v MatMul's output, upstream of the product that the map enters."""
    (product,) = [n for n in after(softmax) if n.op == "MatMul"]
    node = product.i(1)
    while "to_v" not in node.name or node.op not in ("MatMul", "Gemm"):
        node = node.i(0)
    return node.outputs[0]


def after(node):
    """The users of a map, past the Casts of half precision."""
    for user in node.outputs[0].outputs:
        yield from after(user) if user.op == "Cast" else [user]


if __name__ == "__main__":
    main()
