#!/usr/bin/env python3
"""A tiny Stable Diffusion pipeline in ONNX with random weights, and what diffusers and the two-stream
reference make of it: tests/tiny (about a minute; under 2 MB).

The pictures mean nothing; that they are the same in ONNX does. Networks have SD-1.5's parts: CLIP's text
encoder, a UNet with cross-attention at two resolutions, a VAE that divides by 8.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from diffusers import UNet2DConditionModel
from PIL import Image
from safetensors.numpy import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from torch_infusion import Streams  # noqa: E402

PROMPT, NEGATIVE, SEED, STEPS, GUIDANCE, SIZE = "a photo of a ball in the snow", "two balls", 7, 50, 8.0, 64
SCHEDULER = dict(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
    clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="epsilon",
)  # fmt: skip


def networks(tokenizer):
    torch.manual_seed(3)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=77, projection_dim=32,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        )
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(16, 32), attention_head_dim=4, norm_num_groups=4,
        cross_attention_dim=32, layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if "attn2.to_q" in name or "attn2.to_k" in name:
                weight *= 6  # maps that are not flat
        unet.conv_out.weight *= 8
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, layers_per_block=1, latent_channels=4,
    )  # fmt: skip
    return text.eval(), unet.eval(), vae.eval()


class Wrapped(torch.nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call, self.owner = call, getattr(call, "__self__", None)

    def forward(self, *inputs):
        return self.call(*inputs)


def export(module, call, path, inputs, outputs, axes):
    path.parent.mkdir(parents=True, exist_ok=True)
    wrapped = Wrapped(call)
    wrapped.module = module
    names = list(inputs)
    torch.onnx.export(
        wrapped, tuple(inputs.values()), str(path), input_names=names, output_names=outputs,
        dynamic_axes=axes, opset_version=17, dynamo=False, do_constant_folding=True,
    )  # fmt: skip


def export_all(text, unet, vae, folder):
    batch, size = {0: "batch"}, {0: "batch", 2: "height", 3: "width"}
    ids = torch.zeros(2, 77, dtype=torch.int64)
    export(text, lambda x: text(x, return_dict=False)[0], folder / "text_encoder/model.onnx",
           {"input_ids": ids}, ["last_hidden_state"], {"input_ids": batch})
    export(unet, lambda s, t, c: unet(s, t, c, return_dict=False)[0], folder / "unet/model.onnx",
           {"sample": torch.randn(2, 4, 8, 8), "timestep": torch.tensor([5]),
            "encoder_hidden_states": torch.randn(2, 77, 32)}, ["out_sample"],
           {"sample": size, "timestep": {0: "steps"}, "encoder_hidden_states": {0: "batch", 1: "tokens"}})  # fmt: skip
    export(vae, lambda z: vae.decode(z, return_dict=False)[0], folder / "vae_decoder/model.onnx",
           {"latent_sample": torch.randn(1, 4, 8, 8)}, ["sample"], {"latent_sample": size})
    export(vae, lambda x: vae.encode(x).latent_dist.parameters, folder / "vae_encoder/model.onnx",
           {"sample": torch.randn(1, 3, 64, 64)}, ["latent_parameters"], {"sample": size})
    for part in ("vae_decoder", "vae_encoder"):
        (folder / part / "config.json").write_text(json.dumps({"scaling_factor": 0.18215}))
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps({"_class_name": "DDIMScheduler", **SCHEDULER}))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "OnnxStableDiffusionPipeline"}))
    (folder / "tokenizer").mkdir(exist_ok=True)
    for source in (ROOT / "tests/goldens/tokenizer").glob("[mvt]*"):
        shutil.copy(source, folder / "tokenizer" / source.name)


def start_noise():
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))


@torch.no_grad()
def two_streams(text, unet, tokenizer, delta, mode, first=0, last=STEPS):
    """Latents of F and C after all steps; delta is added in steps first..last."""
    streams = Streams(unet)
    tokens = tokenizer([NEGATIVE, PROMPT], padding="max_length", max_length=77, return_tensors="pt").input_ids
    context = text(tokens, return_dict=False)[0]
    ball = tokenizer("ball", add_special_tokens=False).input_ids
    places = [i for i in range(77) if tokens[1, i : i + len(ball)].tolist() == ball]
    mask = torch.zeros(2, 77, 1)
    mask[1, places[0] : places[0] + len(ball)] = 1
    scheduler = DDIMScheduler(**SCHEDULER)
    scheduler.set_timesteps(STEPS)
    f = c = start_noise()
    for step, t in enumerate(scheduler.timesteps):
        shown = mask * float(first <= step < last)
        if mode == "separate":
            eps_f, eps_c = streams.separate(torch.cat([f, f]), torch.cat([c, c]), t, context, shown, delta)
        else:
            eps_f = streams.foundation(torch.cat([f, f]), t, context)
            eps_c, _ = streams.shared(torch.cat([c, c]), t, context, shown, delta, [1])
        guided = lambda eps: eps[:1] + GUIDANCE * (eps[1:] - eps[:1])  # noqa: E731
        f = scheduler.step(guided(eps_f), t, f, return_dict=False)[0]
        c = scheduler.step(guided(eps_c), t, c, return_dict=False)[0]
    return f, c


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "tests/tiny")
    folder = parser.parse_args().output
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = CLIPTokenizer.from_pretrained(str(ROOT / "tests/goldens/tokenizer"))
    text, unet, vae = networks(tokenizer)
    export_all(text, unet, vae, folder)

    parts = dict(text_encoder=text, unet=unet, vae=vae, tokenizer=tokenizer, scheduler=DDIMScheduler(**SCHEDULER),
                 safety_checker=None, feature_extractor=None, requires_safety_checker=False)  # fmt: skip
    settings = dict(negative_prompt=NEGATIVE, num_inference_steps=STEPS, guidance_scale=GUIDANCE)
    seeded = lambda: torch.Generator().manual_seed(SEED)  # noqa: E731
    plain = StableDiffusionPipeline(**parts)
    latents = plain(PROMPT, height=SIZE, width=SIZE, generator=seeded(), output_type="latent", **settings).images
    picture = plain(PROMPT, height=SIZE, width=SIZE, generator=seeded(), **settings).images[0]
    picture.save(folder / "foundation.png")
    ramp = np.indices((SIZE, SIZE)).sum(0) * 2 % 256
    Image.fromarray(np.stack([ramp, 255 - ramp, ramp // 2], -1).astype(np.uint8)).save(folder / "init.png")
    again = StableDiffusionImg2ImgPipeline(**parts)
    init = Image.open(folder / "init.png")
    redrawn = again(PROMPT, image=init, strength=0.5, generator=seeded(), output_type="latent", **settings).images

    streams = Streams(unet)
    delta = torch.randn(1, streams.total_width, generator=torch.Generator().manual_seed(1)) * 0.5
    goldens = {"foundation": latents, "img2img": redrawn, "noise": start_noise()}
    for mode in ("separate", "shared"):
        goldens[mode] = two_streams(text, unet, tokenizer, delta, mode)[1]
        goldens[f"{mode}_window"] = two_streams(text, unet, tokenizer, delta, mode, 10, 40)[1]
    reference = two_streams(text, unet, tokenizer, delta, "separate")[0]
    print("the reference's F against diffusers:", float((reference - latents).abs().max()))
    print("C against F:", float((goldens["separate"] - latents).abs().mean()), "latents", float(latents.std()))
    save_file({name: value.detach().float().numpy().copy() for name, value in goldens.items()},
              folder / "goldens.safetensors")  # fmt: skip
    columns = np.split(delta.numpy(), np.cumsum(streams.widths)[:-1], axis=1)
    save_file(
        {f"unet.{path}.to_v.infusion_delta": np.ascontiguousarray(c) for path, c in zip(streams.paths, columns)},
        folder / "striped.safetensors",
        metadata={"format_version": "1", "concept": "striped", "class": "ball"},
    )


if __name__ == "__main__":
    main()
