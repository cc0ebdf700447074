"""Gradients by torch autograd of one small ONNX model an operator, for the tests of src/autodiff.

Writes tests/goldens/autodiff.safetensors (about 200 kB, 20 seconds): for each case the model
(`<case>/model`, bytes), its inputs (`<case>/in/<name>`), the gradient that arrives at its
output y (`<case>/seed`) and those of its float inputs (`<case>/grad/<name>`). That torch
computes the same function is checked here, against ONNX Runtime's output.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

random = np.random.default_rng(3)


def noise(*shape):
    return random.standard_normal(shape).astype(np.float32)


class Case:
    """`nodes` are (op, inputs, attributes[, domain]); the last makes y, others make t0, t1, ..."""

    def __init__(self, name, nodes, inputs, torch_function, constants=None, opset=17, free=False):
        self.name, self.inputs, self.function = name, inputs, torch_function
        made = []
        for i, (op, names, attributes, *domain) in enumerate(nodes):
            outputs = attributes.pop("outputs", None) or ["y" if i == len(nodes) - 1 else f"t{i}"]
            made.append(helper.make_node(op, names, outputs, domain=domain[0] if domain else "", **attributes))
        sizes = [[f"{n}{k}" if free else d for k, d in enumerate(v.shape)] for n, v in inputs.items()]
        types = [helper.np_dtype_to_tensor_dtype(v.dtype) for v in inputs.values()]
        values = [helper.make_tensor_value_info(n, t, s) for n, t, s in zip(inputs, types, sizes)]
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        weights = [numpy_helper.from_array(v, n) for n, v in (constants or {}).items()]
        graph = helper.make_graph(made, name, values, [out], weights)
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        self.model = helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()

    def tensors(self):
        leaves = {n: torch.tensor(v, requires_grad=v.dtype == np.float32) for n, v in self.inputs.items()}
        y = self.function(*leaves.values())
        found = onnxruntime.InferenceSession(self.model, providers=["CPUExecutionProvider"]).run(None, self.inputs)[0]
        np.testing.assert_allclose(found, y.detach().numpy(), rtol=1e-4, atol=1e-4, err_msg=self.name)
        seed = torch.from_numpy(noise(*y.shape))
        y.backward(seed)
        result = {f"{self.name}/model": np.frombuffer(self.model, np.uint8), f"{self.name}/seed": seed.numpy()}
        result |= {f"{self.name}/in/{n}": v for n, v in self.inputs.items()}
        return result | {f"{self.name}/grad/{n}": t.grad.numpy() for n, t in leaves.items() if t.requires_grad}


def i64(*values):
    return np.array(values, np.int64)


def elementwise():
    positive = np.abs(noise(2, 3, 4)) + 0.5
    for op, function, x in [
        ("Abs", torch.abs, noise(2, 3, 4)), ("Cos", torch.cos, noise(2, 3, 4)), ("Erf", torch.erf, noise(2, 3, 4)),
        ("Exp", torch.exp, noise(2, 3, 4)), ("Identity", lambda x: x * 1, noise(2, 3)), ("Log", torch.log, positive),
        ("Neg", torch.neg, noise(2, 3)), ("Reciprocal", torch.reciprocal, positive), ("Relu", F.relu, noise(2, 3, 4)),
        ("Sigmoid", torch.sigmoid, noise(2, 3, 4)), ("Sin", torch.sin, noise(2, 3, 4)),
        ("Sqrt", torch.sqrt, positive), ("Tanh", torch.tanh, noise(2, 3, 4)),
    ]:  # fmt: skip
        yield Case(op.lower(), [(op, ["x"], {})], {"x": x}, function)
    for op, function in [("Add", torch.add), ("Sub", torch.sub), ("Mul", torch.mul), ("Div", torch.div)]:
        for label, shape in [("same", (2, 3, 4)), ("column", (3, 1)), ("scalar", ()), ("both", (1, 3, 1, 4))]:
            left = noise(5, 1, 2, 1) if label == "both" else noise(2, 3, 4)
            inputs = {"a": left, "b": np.asarray(np.abs(noise(*shape)) + 0.5, np.float32)}
            free = label != "scalar"
            yield Case(f"{op.lower()}-{label}", [(op, ["a", "b"], {})], inputs, function, free=free)
    yield Case("sum", [("Sum", ["a", "b", "c"], {})], {"a": noise(2, 3), "b": noise(3), "c": noise(2, 1)},
               lambda a, b, c: a + b + c)  # fmt: skip
    for power in (2.0, 3.0, 0.5):
        yield Case(f"pow-{power}", [("Pow", ["x", "p"], {})], {"x": positive}, lambda x, p=power: x**p,
                   {"p": np.float32(power)})  # fmt: skip
    yield Case("where", [("Where", ["c", "a", "b"], {})],
               {"c": np.array([[True], [False]]), "a": noise(2, 3), "b": noise(3)}, torch.where)  # fmt: skip
    yield Case("silu", [("Sigmoid", ["x"], {}), ("Mul", ["x", "t0"], {})], {"x": noise(2, 5)}, F.silu)
    for approximate in ("none", "tanh"):
        yield Case(f"gelu-{approximate}", [("Gelu", ["x"], {"approximate": approximate})], {"x": noise(2, 9)},
                   lambda x, a=approximate: F.gelu(x, approximate=a), opset=20)  # fmt: skip
    yield Case("gelu-microsoft", [("Gelu", ["x"], {}, "com.microsoft")], {"x": noise(2, 9)}, F.gelu)
    yield Case("gelu-quick", [("QuickGelu", ["x"], {"alpha": 1.702}, "com.microsoft")], {"x": noise(2, 9)},
               lambda x: x * torch.sigmoid(1.702 * x))  # fmt: skip
    yield Case("softmax", [("Softmax", ["x"], {"axis": -1})], {"x": noise(2, 3, 5)}, lambda x: F.softmax(x, -1))
    yield Case("softmax-inner", [("Softmax", ["x"], {"axis": 1})], {"x": noise(2, 3, 5)}, lambda x: F.softmax(x, 1))
    yield Case("log-softmax", [("LogSoftmax", ["x"], {"axis": -1})], {"x": noise(2, 5)},
               lambda x: F.log_softmax(x, -1))  # fmt: skip
    yield Case("cast", [("Cast", ["x"], {"to": TensorProto.DOUBLE}), ("Cast", ["t0"], {"to": TensorProto.FLOAT})],
               {"x": noise(3)}, lambda x: x.double().float())  # fmt: skip


def products():
    weight = noise(6, 5)
    for rank, shape in [(2, (3, 6)), (3, (2, 3, 6)), (4, (2, 2, 3, 6))]:
        yield Case(f"matmul-weight-{rank}", [("MatMul", ["x", "w"], {})], {"x": noise(*shape)},
                   lambda x: x @ torch.from_numpy(weight), {"w": weight}, free=rank == 3)  # fmt: skip
    yield Case("matmul", [("MatMul", ["a", "b"], {})], {"a": noise(2, 3, 4, 6), "b": noise(2, 3, 6, 5)}, torch.matmul)
    yield Case("matmul-rows", [("MatMul", ["a", "b"], {})], {"a": noise(2, 4, 6), "b": noise(6, 5)}, torch.matmul)
    yield Case("matmul-broadcast", [("MatMul", ["a", "b"], {})], {"a": noise(3, 1, 4, 6), "b": noise(2, 6, 5)},
               torch.matmul, free=True)  # fmt: skip
    for ta in (0, 1):
        for tb in (0, 1):
            a, b = noise(*((6, 4) if ta else (4, 6))), noise(*((5, 6) if tb else (6, 5)))
            yield Case(f"gemm-{ta}{tb}", [("Gemm", ["a", "b", "c"], {"transA": ta, "transB": tb, "alpha": 0.5,
                       "beta": 2.0})], {"a": a, "b": b, "c": noise(5)},
                       lambda a, b, c, ta=ta, tb=tb: 0.5 * (a.T if ta else a) @ (b.T if tb else b) + 2 * c)  # fmt: skip
    for equation, shapes in [("bid,bjd->bij", [(2, 3, 4), (2, 5, 4)]), ("bij,bjd->bid", [(2, 3, 5), (2, 5, 4)]),
                             ("bhwc,cd->bhwd", [(2, 3, 2, 4), (4, 5)]), ("abc->cb", [(2, 3, 4)])]:  # fmt: skip
        inputs = {n: noise(*s) for n, s in zip("ab", shapes)}
        yield Case(f"einsum-{equation.replace('>', '').replace(',', '.')}",
                   [("Einsum", list(inputs), {"equation": equation})], inputs,
                   lambda *x, e=equation: torch.einsum(e, *x))  # fmt: skip
    q, k, v = noise(2, 3, 4, 8), noise(2, 3, 5, 8), noise(2, 3, 5, 6)
    yield Case("attention-4d", [("Attention", ["q", "k", "v"], {})], {"q": q, "k": k, "v": v},
               F.scaled_dot_product_attention, opset=23)  # fmt: skip

    def heads(q, k, v, n=3):
        q, k, v = (t.unflatten(2, (n, -1)).transpose(1, 2) for t in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, scale=0.3).transpose(1, 2).flatten(2)

    rows = {"q": noise(2, 4, 24), "k": noise(2, 5, 24), "v": noise(2, 5, 24)}
    yield Case("attention-3d", [("Attention", ["q", "k", "v"], {"q_num_heads": 3, "kv_num_heads": 3, "scale": 0.3})],
               rows, heads, opset=23)  # fmt: skip
    yield Case("multi-head", [("MultiHeadAttention", ["q", "k", "v"], {"num_heads": 3, "scale": 0.3},
               "com.microsoft")], rows, heads)  # fmt: skip


def convolutions():
    for label, size, stride, pad, group, kernel, free in [
        ("plain", 6, 1, 1, 1, 3, True), ("half", 6, 2, 1, 1, 3, False), ("half-free", 6, 2, 1, 1, 3, True),
        ("half-odd", 7, 2, 1, 1, 3, True), ("group", 5, 1, 1, 2, 3, False), ("point", 5, 1, 0, 1, 1, False),
    ]:  # fmt: skip
        weight = noise(6, 4 // group, kernel, kernel)
        attributes = {"strides": [stride] * 2, "pads": [pad] * 4, "group": group, "kernel_shape": [kernel] * 2}
        yield Case(f"conv-{label}", [("Conv", ["x", "w", "b"], attributes)], {"x": noise(2, 4, size, size + 2)},
                   lambda x, w=weight, s=stride, p=pad, g=group: F.conv2d(x, torch.from_numpy(w), torch.ones(6), s, p,
                                                                          groups=g),
                   {"w": weight, "b": np.ones(6, np.float32)}, free=free)  # fmt: skip
    weight = noise(4, 6, 3, 3)
    for extra in (0, 1):
        attributes = {"strides": [2, 2], "pads": [1] * 4, "output_padding": [extra] * 2}
        yield Case(f"conv-transpose-{extra}", [("ConvTranspose", ["x", "w"], attributes)], {"x": noise(1, 4, 5, 4)},
                   lambda x, e=extra: F.conv_transpose2d(x, torch.from_numpy(weight), None, 2, 1, e),
                   {"w": weight})  # fmt: skip
    for opset in (13, 18):
        yield Case(f"average-pool-{opset}", [("AveragePool", ["x"], {"kernel_shape": [2, 2], "strides": [2, 2]})],
                   {"x": noise(1, 3, 5, 4)}, lambda x: F.avg_pool2d(x, 2), opset=opset)  # fmt: skip
    yield Case("global-pool", [("GlobalAveragePool", ["x"], {})], {"x": noise(2, 3, 5, 4)},
               lambda x: F.adaptive_avg_pool2d(x, 1))  # fmt: skip
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    yield Case("resize-twice", [("Resize", ["x", "", "s"], nearest)], {"x": noise(1, 2, 3, 4)},
               lambda x: F.interpolate(x, scale_factor=2.0), {"s": np.array([1, 1, 2, 2], np.float32)}, free=True)
    yield Case("resize-sizes", [("Resize", ["x", "", "", "s"], dict(nearest))], {"x": noise(1, 2, 3, 4)},
               lambda x: F.interpolate(x, size=(5, 9)), {"s": i64(1, 2, 5, 9)})  # fmt: skip


def norms():
    scale, shift = noise(6), noise(6)
    s, b = torch.from_numpy(scale), torch.from_numpy(shift)
    for opset in (17, 18):
        yield Case(f"instance-norm-{opset}", [("InstanceNormalization", ["x", "s", "b"], {})],
                   {"x": noise(2, 6, 4, 5)}, lambda x: F.instance_norm(x, weight=s, bias=b, eps=1e-5),
                   {"s": scale, "b": shift}, opset=opset, free=opset == 18)  # fmt: skip
    grouped = [("Reshape", ["x", "to"], {}), ("InstanceNormalization", ["t0", "one", "zero"], {"epsilon": 1e-6}),
               ("Shape", ["x"], {}), ("Reshape", ["t1", "t2"], {}), ("Mul", ["t3", "s"], {}),
               ("Add", ["t4", "b"], {})]  # fmt: skip
    yield Case("group-norm-exported", grouped, {"x": noise(2, 6, 4, 5)},
               lambda x: F.group_norm(x, 2, s, b, 1e-6),
               {"to": i64(0, 2, -1), "one": np.ones(2, np.float32), "zero": np.zeros(2, np.float32),
                "s": scale.reshape(6, 1, 1), "b": shift.reshape(6, 1, 1)}, free=True)  # fmt: skip
    yield Case("group-norm-21", [("GroupNormalization", ["x", "s", "b"], {"num_groups": 3})],
               {"x": noise(2, 6, 4, 5)}, lambda x: F.group_norm(x, 3, s, b, 1e-5), {"s": scale, "b": shift},
               opset=21)  # fmt: skip
    groups, zeros = noise(3), np.zeros(3, np.float32)
    yield Case("group-norm-18", [("GroupNormalization", ["x", "s", "b"], {"num_groups": 3})],
               {"x": noise(2, 6, 4, 5)},
               lambda x: F.group_norm(x, 3, torch.from_numpy(groups).repeat_interleave(2), torch.zeros(6), 1e-5),
               {"s": groups, "b": zeros}, opset=18)  # fmt: skip
    yield Case("layer-norm", [("LayerNormalization", ["x", "s", "b"], {"axis": -1})], {"x": noise(2, 3, 6)},
               lambda x: F.layer_norm(x, (6,), s, b), {"s": scale, "b": shift}, free=False)  # fmt: skip
    for opset in (14, 18):
        axes = ["axes"] if opset >= 18 else []
        attributes = (lambda: {}) if opset >= 18 else (lambda: {"axes": [-1]})
        steps = [("ReduceMean", ["x", *axes], attributes()), ("Sub", ["x", "t0"], {}), ("Pow", ["t1", "two"], {}),
                 ("ReduceMean", ["t2", *axes], attributes()), ("Add", ["t3", "e"], {}), ("Sqrt", ["t4"], {}),
                 ("Div", ["t1", "t5"], {}), ("Mul", ["t6", "s"], {}), ("Add", ["t7", "b"], {})]  # fmt: skip
        constants = {"two": np.float32(2), "e": np.float32(1e-5), "s": scale, "b": shift}
        if opset >= 18:
            constants["axes"] = i64(-1)
        yield Case(f"layer-norm-steps-{opset}", steps, {"x": noise(2, 3, 6)}, lambda x: F.layer_norm(x, (6,), s, b),
                   constants, opset=opset)  # fmt: skip
    yield Case("rms-norm", [("RMSNormalization", ["x", "s"], {"axis": -1, "epsilon": 1e-5})], {"x": noise(2, 3, 6)},
               lambda x: F.rms_norm(x, (6,), s, 1e-5), {"s": scale}, opset=23)  # fmt: skip


def reductions():
    for keep in (0, 1):
        yield Case(f"reduce-sum-{keep}", [("ReduceSum", ["x", "a"], {"keepdims": keep})], {"x": noise(2, 3, 4)},
                   lambda x, k=keep: x.sum(1, keepdim=bool(k)), {"a": i64(1)}, free=bool(keep))  # fmt: skip
        yield Case(f"reduce-mean-{keep}", [("ReduceMean", ["x"], {"axes": [0, 2], "keepdims": keep})],
                   {"x": noise(2, 3, 4)}, lambda x, k=keep: x.mean((0, 2), keepdim=bool(k)), free=bool(keep))  # fmt: skip
    yield Case("reduce-mean-all", [("ReduceMean", ["x"], {"keepdims": 0})], {"x": noise(2, 3)}, lambda x: x.mean())
    yield Case("reduce-mean-18", [("ReduceMean", ["x", "a"], {})], {"x": noise(2, 3)},
               lambda x: x.mean(1, keepdim=True), {"a": i64(1)}, opset=18)  # fmt: skip
    yield Case("reduce-square", [("ReduceSumSquare", ["x"], {"axes": [1], "keepdims": 0})], {"x": noise(2, 3)},
               lambda x: (x**2).sum(1))  # fmt: skip
    yield Case("reduce-l2", [("ReduceL2", ["x"], {"axes": [1]})], {"x": noise(2, 3)},
               lambda x: x.norm(dim=1, keepdim=True))  # fmt: skip


def views():
    x = {"x": noise(2, 6, 4)}
    yield Case("reshape", [("Reshape", ["x", "to"], {})], x, lambda x: x.reshape(2, 3, 8), {"to": i64(0, 3, -1)},
               free=True)  # fmt: skip
    yield Case("flatten", [("Flatten", ["x"], {"axis": 2})], x, lambda x: x.reshape(12, 4), free=True)
    yield Case("squeeze", [("Unsqueeze", ["x", "a"], {}), ("Squeeze", ["t0", "a"], {})], x, lambda x: x * 1,
               {"a": i64(1)}, free=True)  # fmt: skip
    yield Case("unsqueeze", [("Unsqueeze", ["x", "a"], {})], x, lambda x: x[:, None, :, :, None], {"a": i64(1, -1)})
    yield Case("transpose", [("Transpose", ["x"], {"perm": [2, 0, 1]})], x, lambda x: x.permute(2, 0, 1), free=True)
    yield Case("expand", [("Expand", ["x", "to"], {})], {"x": noise(1, 3, 1)}, lambda x: x.expand(4, 2, 3, 5),
               {"to": i64(4, 2, 1, 5)})  # fmt: skip
    yield Case("concat", [("Concat", ["a", "b", "c"], {"axis": 1})],
               {"a": noise(2, 1, 3), "b": noise(2, 4, 3), "c": noise(2, 2, 3)},
               lambda a, b, c: torch.cat([a, b, c], 1), free=True)  # fmt: skip
    halves = [("Split", ["x"], {"axis": 1, "outputs": ["l", "r"]}), ("Sigmoid", ["r"], {}), ("Mul", ["l", "t1"], {})]
    yield Case("split-even", halves, x, lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[1].sigmoid())
    yield Case("split-unused", [("Split", ["x", "n"], {"axis": 1, "outputs": ["l", "m", "r"]}), ("Neg", ["m"], {})], x,
               lambda x: -x[:, 1:3], {"n": i64(1, 2, 3)}, free=False)  # fmt: skip
    for label, start, end in [("front", 0, 2), ("middle", 2, 5), ("back", -2, 2**31), ("cut", 1, 99)]:
        yield Case(f"slice-{label}", [("Slice", ["x", "s", "e", "a"], {})], x,
                   lambda x, s=start, e=end: x[:, s:e], {"s": i64(start), "e": i64(end), "a": i64(1)},
                   free=label != "cut")  # fmt: skip
    yield Case("pad", [("Pad", ["x", "p"], {})], x, lambda x: F.pad(x, (1, 2, 0, 3)), {"p": i64(0, 0, 1, 0, 3, 2)})
    yield Case("gather-one", [("Gather", ["x", "i"], {"axis": 1})], x, lambda x: x[:, 2], {"i": np.int64(2)})
    yield Case("gather-many", [("Gather", ["x", "i"], {"axis": 1})], x,
               lambda x: x[:, torch.tensor([[0, 5], [5, -2]])], {"i": np.array([[0, 5], [5, -2]])}, free=True)  # fmt: skip
    at = np.array([[[0, 1], [1, 2]]])
    yield Case("gather-nd", [("GatherND", ["x", "i"], {})], x, lambda x: x[[0, 1], [1, 2]][None], {"i": at})
    yield Case("scatter-nd", [("ScatterND", ["x", "i", "u"], {})], {**x, "u": noise(1, 2, 4)},
               lambda x, u: x.index_put((torch.tensor([0, 1]), torch.tensor([1, 2])), u[0]), {"i": at})  # fmt: skip


def further_reductions():
    x = noise(2, 3, 4)
    for keep in (0, 1):
        for op, function in [("ReduceMax", torch.amax), ("ReduceMin", torch.amin), ("ReduceLogSumExp", torch.logsumexp)]:
            yield Case(f"{op}-{keep}", [(op, ["x"], {"axes": [0, 2], "keepdims": keep})], {"x": x},
                       lambda x, f=function, k=keep: f(x, (0, 2), bool(k)))  # fmt: skip
    yield Case("reduce-max-all", [("ReduceMax", ["x"], {"keepdims": 0})], {"x": x}, lambda x: x.amax())
    yield Case("reduce-max-18", [("ReduceMax", ["x", "a"], {})], {"x": x}, lambda x: x.amax(1, keepdim=True),
               {"a": i64(1)}, opset=18)  # fmt: skip
    ties = np.array([[1, 3, 3], [2, 2, 0]], np.float32)
    yield Case("reduce-max-ties", [("ReduceMax", ["x"], {"axes": [1]})], {"x": ties}, lambda x: x.amax(1, keepdim=True))
    yield Case("reduce-l1", [("ReduceL1", ["x"], {"axes": [1], "keepdims": 0})], {"x": x}, lambda x: x.abs().sum(1))
    yield Case("reduce-log-sum", [("ReduceLogSum", ["x"], {"axes": [1], "keepdims": 0})], {"x": np.abs(x) + 0.5},
               lambda x: x.sum(1).log())  # fmt: skip


def fused():
    microsoft = "com.microsoft"
    yield Case("cast-like", [("CastLike", ["x", "w"], {}), ("Cast", ["t0"], {"to": TensorProto.FLOAT})], {"x": noise(3)},
               lambda x: x.double().float(), {"w": np.zeros(1, np.float64)})  # fmt: skip
    yield Case("dropout", [("Dropout", ["x"], {})], {"x": noise(2, 3)}, lambda x: x * 1)
    for ta in (0, 1):
        for tb in (0, 1):
            a, b = noise(2, *((6, 4) if ta else (4, 6))), noise(2, *((5, 6) if tb else (6, 5)))
            yield Case(f"fused-matmul-{ta}{tb}", [("FusedMatMul", ["a", "b"], {"transA": ta, "transB": tb, "alpha": 0.5},
                       microsoft)], {"a": a, "b": b},
                       lambda a, b, ta=ta, tb=tb: 0.5 * (a.mT if ta else a) @ (b.mT if tb else b))  # fmt: skip
    scale, shift, bias = noise(8), noise(8), noise(8)
    s, c, b = map(torch.from_numpy, (scale, shift, bias))
    yield Case("skip-layer-norm", [("SkipLayerNormalization", ["x", "k", "s", "c", "b"], {"epsilon": 1e-5}, microsoft)],
               {"x": noise(2, 3, 8), "k": noise(2, 3, 8)}, lambda x, k: F.layer_norm(x + k + b, (8,), s, c),
               {"s": scale, "c": shift, "b": bias})  # fmt: skip
    yield Case("skip-layer-norm-sum", [
        ("SkipLayerNormalization", ["x", "k", "s", "c"], {"epsilon": 1e-5, "outputs": ["n", "", "", "sum"]}, microsoft),
        ("Mul", ["n", "sum"], {})], {"x": noise(2, 3, 8), "k": noise(2, 3, 8)},
        lambda x, k: F.layer_norm(x + k, (8,), s, c) * (x + k), {"s": scale, "c": shift})  # fmt: skip
    yield Case("rms-norm-simplified", [("SimplifiedLayerNormalization", ["x", "s"], {"axis": -1, "epsilon": 1e-5})],
               {"x": noise(2, 3, 8)}, lambda x: F.rms_norm(x, (8,), s, 1e-5), {"s": scale})  # fmt: skip
    weight, packed = noise(8, 24), noise(24)

    def attention(x):
        q, k, v = (x @ torch.from_numpy(weight) + torch.from_numpy(packed)).chunk(3, -1)
        q, k, v = (t.unflatten(2, (2, 4)).transpose(1, 2) for t in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    yield Case("attention-microsoft", [("Attention", ["x", "w", "b"], {"num_heads": 2}, microsoft)],
               {"x": noise(2, 5, 8)}, attention, {"w": weight, "b": packed})  # fmt: skip


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, default=Path("tests/goldens/autodiff.safetensors"))
    out = arguments.parse_args().out
    tensors = {}
    for family in (elementwise, products, convolutions, norms, reductions, views, further_reductions, fused):
        for case in family():
            tensors |= {name: np.array(value, order="C") for name, value in case.tensors().items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out)
    print(f"{out}: {sum(name.endswith('/model') for name in tensors)} cases, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
