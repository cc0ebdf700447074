"""The dialects, in order: add one by appending a `Dialect` whose `make` writes `model.onnx` at the path given."""

import dataclasses
import typing

import exporters
import networks
import processors
import refused
import rewriters
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor
from networks import ROWS


@dataclasses.dataclass
class Dialect:
    """`expect` is `patch` or `refuse`; `tolerance` is against torch, relative to the largest element."""

    name: str
    about: str
    exporter: str
    make: typing.Callable
    reference: str = "narrow"
    expect: str = "patch"
    runs_on_cpu: bool = True
    tolerance: float = 2e-4


def script(processor, network=networks.narrow, **options):
    """A maker that exports `network` under `processor` through the TorchScript exporter."""

    def make(path):
        unet = network()
        unet.set_attn_processor(processor())
        exporters.torchscript(unet, path, **options)

    return make


def half(**changes):
    return lambda: networks.narrow(**changes).half()


SDPA = "torch.onnx TorchScript, AttnProcessor2_0"
BADDBMM = "torch.onnx TorchScript, AttnProcessor"

RESIDUALS = {
    f"down_block_additional_residual_{i}": torch.zeros(ROWS, channels, size, size)
    for i, (channels, size) in enumerate(
        [(16, 8)] * 3 + [(16, 4)] + [(24, 4)] * 2 + [(24, 2)] + [(16, 2)] * 2 + [(16, 1)] * 3
    )
} | {"mid_block_additional_residual": torch.zeros(ROWS, 16, 1, 1)}


def fused_projections(path):
    unet = networks.narrow()
    unet.fuse_qkv_projections()
    exporters.torchscript(unet, path)


def qualcomm(path):
    unet = networks.narrow()
    unet.set_attn_processor(processors.per_head(unet))
    exporters.torchscript(unet, path, dynamic=False)


OPTIMIZER = "onnxruntime.transformers.optimizer, model_type unet"
GPU_ONLY = ("group_norm", "skip_group_norm", "nhwc_conv", "bias_splitgelu", "bias_add")
FOR_CPU = {f"enable_{name}": False for name in GPU_ONLY}

DIALECTS = [
    Dialect("sdpa-17", "scaled dot product, all axes free, as optimum writes it", SDPA, script(AttnProcessor2_0)),
    Dialect(
        "sdpa-14",
        "the same at opset 14, a timestep per row",
        SDPA,
        script(AttnProcessor2_0, opset=14, timestep="int64 [B]"),
    ),
    Dialect(
        "sdpa-18",
        "the same at opset 18, timestep [1]",
        SDPA,
        script(AttnProcessor2_0, opset=18, timestep="int64 [1]"),
    ),
    Dialect(
        "sdpa-17-static",
        "all dims baked, batch 2",
        SDPA,
        script(AttnProcessor2_0, dynamic=False),
    ),
    Dialect(
        "baddbmm-14",
        "diffusers before torch 2: MatMul, Mul, Add(zeros), Softmax on (B*H, N, L); float timestep per row",
        BADDBMM,
        script(AttnProcessor, opset=14, timestep="float [B]"),
    ),
    Dialect(
        "baddbmm-11",
        "the oldest opset: axes of Squeeze and ReduceSum are attributes, all axes free",
        BADDBMM,
        script(AttnProcessor, opset=11),
    ),
    Dialect(
        "baddbmm-17-static",
        "all dims baked, batch 2, float timestep [1]",
        BADDBMM,
        script(AttnProcessor, timestep="float [1]", dynamic=False),
    ),
    Dialect(
        "baddbmm-18",
        "the same at opset 18, float timestep [1]",
        BADDBMM,
        script(AttnProcessor, opset=18, timestep="float [1]"),
    ),
    Dialect(
        "fp16-sdpa-17",
        "half precision throughout",
        SDPA,
        script(AttnProcessor2_0, network=half(), timestep="int64 [1]"),
        tolerance=2e-2,
    ),
    Dialect(
        "fp16-upcast-17",
        "half precision, upcast_attention: Casts around the scores and Softmax",
        BADDBMM,
        script(AttnProcessor, network=half(upcast_attention=True), timestep="int64 [1]"),
        tolerance=2e-2,
    ),
    Dialect(
        "dynamo-18",
        "torch dynamo: constant scales, tensor names that say nothing, module paths in metadata_props",
        "torch.onnx dynamo",
        lambda path: exporters.dynamo(networks.narrow(), path, opset=18),
    ),
    Dialect(
        "dynamo-18-static",
        "the same, all dims baked, timestep [1]",
        "torch.onnx dynamo",
        lambda path: exporters.dynamo(networks.narrow(), path, opset=18, dynamic=False, timestep="int64 [1]"),
    ),
    Dialect(
        "dynamo-23",
        "torch dynamo at opset 23: one Attention op an attention",
        "torch.onnx dynamo",
        lambda path: exporters.dynamo(networks.narrow(), path, opset=23),
    ),
    Dialect(
        "einsum-14",
        "conversion scripts of 2022: Einsum, Mul, Softmax, Einsum; weights.pb",
        "diffusers conversion script, 2022",
        rewriters.after(
            script(processors.EinsumAttention, opset=14, timestep="int64 [B]"), rewriters.external("weights.pb")
        ),
    ),
    Dialect(
        "matmul-14",
        "their other spelling: MatMul, Mul, Softmax, MatMul on (B*H, N, L); int64 timestep per row",
        "diffusers conversion script, 2022",
        script(processors.MatMulAttention, opset=14, timestep="int64 [B]"),
    ),
    Dialect(
        "sliced-17-static",
        "sliced attention: several Softmax a layer, Slice and ScatterND",
        "torch.onnx TorchScript, SlicedAttnProcessor",
        script(lambda: SlicedAttnProcessor(4), dynamic=False),
    ),
    Dialect(
        "fused-projections-17",
        "fuse_qkv_projections: one to_kv MatMul and a Split",
        "torch.onnx TorchScript, FusedAttnProcessor2_0",
        fused_projections,
    ),
    Dialect(
        "per-head-17-static",
        "Qualcomm's rewriting: one 1x1 Conv and one Softmax per head",
        "olive-recipes for Qualcomm NPUs",
        qualcomm,
    ),
    Dialect(
        "controlnet-17",
        "with the residual inputs of ControlNet",
        SDPA,
        script(AttnProcessor2_0, extra=RESIDUALS),
    ),
    Dialect(
        "lcm-17",
        "with timestep_cond (latent consistency models)",
        SDPA,
        script(
            AttnProcessor2_0,
            network=lambda: networks.narrow(time_cond_proj_dim=8),
            timestep="float []",
            extra={"timestep_cond": torch.zeros(ROWS, 8)},
        ),
    ),
    Dialect(
        "external-one-17",
        "all weights in model.onnx_data, as optimum writes models over 2 GB",
        SDPA,
        rewriters.after(script(AttnProcessor2_0), rewriters.external("model.onnx_data")),
    ),
    Dialect(
        "external-many-17-static",
        "one file per larger weight, named after the tensor",
        SDPA,
        rewriters.after(script(AttnProcessor2_0, dynamic=False), rewriters.external_many),
    ),
    Dialect(
        "onnxslim-static",
        "constants folded, shapes static, names misleading",
        "onnxslim on sdpa-17-static",
        rewriters.after(script(AttnProcessor2_0, dynamic=False), rewriters.slimmed),
    ),
    Dialect(
        "dynamic-int8",
        "MatMulInteger; one DynamicQuantizeLinear on the context feeds every projection",
        "onnxruntime.quantization.quantize_dynamic on sdpa-17",
        rewriters.after(script(AttnProcessor2_0), rewriters.dynamic_int8),
        tolerance=0.1,
    ),
    Dialect(
        "qdq-int8",
        "QuantizeLinear and DequantizeLinear around everything",
        "onnxruntime.quantization.quantize_static on sdpa-17",
        rewriters.after(script(AttnProcessor2_0), rewriters.qdq_int8),
        tolerance=0.4,
    ),
    Dialect(
        "ort-extended",
        "ONNX Runtime's own graph at level extended: FusedMatMul, SkipLayerNormalization, FusedConv",
        "onnxruntime optimized_model_filepath on baddbmm-14",
        rewriters.after(script(AttnProcessor, opset=14, timestep="float [B]"), rewriters.extended),
    ),
    Dialect(
        "ort-mha",
        "com.microsoft MultiHeadAttention on [B,N,C] operands, SkipLayerNormalization",
        OPTIMIZER,
        rewriters.after(
            script(AttnProcessor, opset=14, timestep="float [1]"),
            rewriters.optimizer_unet(enable_packed_kv=False, enable_packed_qkv=False, **FOR_CPU),
        ),
    ),
    Dialect(
        "ort-mha-packed-kv-static",
        "cross-attention with packed KV [B,L,H,2,w]",
        OPTIMIZER,
        rewriters.after(
            script(AttnProcessor, dynamic=False),
            rewriters.optimizer_unet(enable_packed_kv=True, enable_packed_qkv=False, **FOR_CPU),
        ),
        runs_on_cpu=False,
    ),
    Dialect(
        "ort-mha-packed",
        "packed KV [B,L,H,2,w] in cross-attention, packed QKV [B,N,H,3,w] in self-attention",
        OPTIMIZER,
        rewriters.after(script(processors.MatMulAttention, opset=14), rewriters.optimizer_unet(**FOR_CPU)),
        runs_on_cpu=False,
    ),
    Dialect(
        "ort-gpu-static",
        "the CUDA variant: GroupNorm, SkipGroupNorm, NhwcConv, BiasSplitGelu, BiasAdd, packed KV and QKV",
        OPTIMIZER,
        rewriters.after(script(AttnProcessor, opset=17, dynamic=False), rewriters.optimizer_unet()),
        runs_on_cpu=False,
    ),
    Dialect(
        "linear-17",
        "SD 2.x style: linear projections, 2, 4 and 8 heads",
        SDPA,
        script(AttnProcessor2_0, network=networks.linear),
        reference="linear",
    ),
    Dialect(
        "four-17",
        "a small UNet with four cross-attention layers",
        SDPA,
        script(AttnProcessor2_0, network=networks.four),
        reference="four",
    ),
    *(
        Dialect(name, about, "torch.onnx TorchScript", make, reference="", expect="refuse")
        for name, about, make in [
            ("vae-decoder", "an AutoencoderKL's decoder", refused.vae_decoder),
            ("text-encoder", "a CLIP text encoder", refused.text_encoder),
            ("sdxl", "an SDXL-like UNet: text_embeds, time_ids, several transformer layers a block", refused.sdxl),
            ("perceptron", "no diffusion model at all", refused.perceptron),
        ]
    ),
]
