"""From one ONNX file to another: external data, onnxslim, quantisation, ONNX Runtime's optimizers."""

import logging
import os
import pathlib
import tempfile

import onnx
import onnxruntime
import onnxslim
from onnxruntime import quantization
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

os.environ["TQDM_DISABLE"] = "1"


def external(location, threshold=1024):
    """All larger weights in one file beside the model."""
    return lambda source, path: onnx.save_model(
        onnx.load(source), path, save_as_external_data=True, location=location, size_threshold=threshold
    )


def external_many(source, path, threshold=16384):
    """Each larger weight in its own file, named after the tensor."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= threshold:
            location = tensor.name.replace(":", "_").replace("/", "_")
            (path.parent / location).write_bytes(tensor.raw_data)
            length = len(tensor.raw_data)
            onnx.external_data_helper.set_external_data(tensor, location, offset=0, length=length)
            tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())


def slimmed(source, path):
    onnx.save(onnxslim.slim(onnx.load(source)), path)


def dynamic_int8(source, path):
    quantization.quantize_dynamic(source, path, op_types_to_quantize=["MatMul", "Gemm"])


def qdq_int8(source, path):
    from describe import feed

    class Samples(quantization.CalibrationDataReader):
        def __init__(self):
            import reference
            from describe import describe

            inputs = [describe(i) for i in onnx.load(source).graph.input]
            self.samples = iter([{i["name"]: feed(i, reference.tensors("narrow")) for i in inputs}])

        def get_next(self):
            return next(self.samples, None)

    quantization.quantize_static(
        source,
        path,
        Samples(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["MatMul", "Conv", "Gemm", "Add", "Mul", "Softmax", "Transpose", "Reshape"],
    )


def extended(source, path):
    """The graph that ONNX Runtime itself would run on a CPU at its `extended` level, saved."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def optimizer_unet(**fusions):
    """onnxruntime.transformers.optimizer with model_type unet; `fusions` override its switches."""

    def rewrite(source, path):
        options = FusionOptions("unet")
        for name, value in fusions.items():
            assert hasattr(options, name), name
            setattr(options, name, value)
        logging.disable(logging.WARNING)
        model = optimizer.optimize_model(str(source), "unet", opt_level=0, optimization_options=options, use_gpu=True)
        logging.disable(logging.NOTSET)
        model.save_model_to_file(str(path))

    return rewrite


def after(export, rewrite):
    """A maker: `export` writes a file, `rewrite` makes the dialect of it."""

    def make(path):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "source.onnx"
            export(source)
            rewrite(source, path)

    return make


