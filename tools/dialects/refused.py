"""Models that infusion-patch must refuse with a clear message."""

import networks
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from exporters import write
from networks import CONTEXT, ROWS, SIZE, TOKENS


class Decoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.vae = networks.autoencoder()

    def forward(self, latent_sample):
        return self.vae.decode(latent_sample, return_dict=False)[0]


class SdxlUNet(UNet2DConditionModel):
    def forward(self, sample, timestep, encoder_hidden_states, text_embeds, time_ids):
        added = {"text_embeds": text_embeds, "time_ids": time_ids}
        more = {"added_cond_kwargs": added, "return_dict": False}
        return super().forward(sample, timestep, encoder_hidden_states, **more)[0]


class TextEncoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = networks.text_encoder()

    def forward(self, input_ids):
        return self.model(input_ids, return_dict=False)[0]


def vae_decoder(path):
    inputs = {"latent_sample": torch.randn(1, 4, SIZE, SIZE)}
    export(Decoder(), inputs, path, "sample", {"latent_sample": {0: "batch", 2: "height", 3: "width"}})


def text_encoder(path):
    inputs = {"input_ids": torch.ones(1, TOKENS, dtype=torch.int32)}
    export(TextEncoder(), inputs, path, "last_hidden_state", {"input_ids": {0: "batch", 1: "sequence"}})


def sdxl(path):
    unet = networks.sdxl()
    unet.set_attn_processor(AttnProcessor2_0())
    unet.__class__ = SdxlUNet
    inputs = {
        "sample": torch.randn(ROWS, 4, SIZE, SIZE),
        "timestep": torch.tensor(401),
        "encoder_hidden_states": torch.randn(ROWS, TOKENS, CONTEXT),
        "text_embeds": torch.randn(ROWS, 16),
        "time_ids": torch.ones(ROWS, 6),
    }
    axes = {name: {0: "batch"} for name in inputs if name != "timestep"}
    export(unet, inputs, path, "out_sample", axes)


def perceptron(path):
    export(networks.perceptron(), {"x": torch.randn(ROWS, 8)}, path, "y", {"x": {0: "batch"}})


def export(module, inputs, path, output, axes):
    write(module, inputs, path, [output], opset_version=17, dynamo=False, dynamic_axes=axes)
