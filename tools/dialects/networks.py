"""The tiny networks that the dialects export: SD-1.5's block structure, a few hundred thousand weights.

Weights are small integers times a power of two, so that they are exact in half precision and compress well.
"""

import zlib

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

ROWS, TOKENS, SIZE, CONTEXT = 2, 77, 8, 16


def narrow(**changes):
    """SD-1.5's UNet, narrower: 16 cross-attention layers, 8 heads, value widths 16 and 24."""
    return settle(UNet2DConditionModel(**(NARROW | changes)))


NARROW = dict(
    sample_size=SIZE,
    block_out_channels=(16, 24, 16, 16),
    attention_head_dim=8,
    norm_num_groups=4,
    cross_attention_dim=CONTEXT,
    layers_per_block=2,
)


def linear():
    """SD 2.x style: linear projections around the transformer, another head count in each block."""
    return narrow(use_linear_projection=True, attention_head_dim=(2, 4, 8, 8), block_out_channels=(16, 24, 16, 16))


def four():
    """Two resolutions, one layer a block: four cross-attention layers (1 down, mid, 2 up)."""
    return narrow(
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )


def sdxl():
    """SDXL's traits: text_time embeddings, several transformer layers a block."""
    return narrow(
        block_out_channels=(16, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        layers_per_block=1,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    )


def autoencoder():
    return settle(
        AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            latent_channels=4,
        )
    )


def text_encoder():
    return settle(
        CLIPTextModel(
            CLIPTextConfig(
                vocab_size=100,
                hidden_size=CONTEXT,
                intermediate_size=2 * CONTEXT,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=TOKENS,
            )
        )
    )


def perceptron():
    return settle(torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)))


def settle(model, seed=20240):
    """Fixed, coarse, well scaled weights: activations and outputs of order one, attention far from uniform."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
            levels = torch.randint(-7, 8, p.shape, generator=generator).float()
            p.copy_(levels * power_of_two(spread(name, p) / 4.3) + ("norm" in name and name.endswith("weight")))
    return model.eval().requires_grad_(False)


def spread(name, p):
    """The wanted standard deviation of a parameter (levels -7..7 spread by 4.3)."""
    if p.ndim < 2:
        return 0.12
    if ".to_q." in name or ".to_k." in name:
        gain = 2.0
    elif any(end in name for end in BRANCH_ENDS):
        gain = 0.25
    else:
        gain = 1.0
    return gain * p[0].numel() ** -0.5


BRANCH_ENDS = (".conv2.", ".attn1.to_out.", ".net.2.", ".proj_out.")


def power_of_two(x):
    return 2.0 ** round(torch.log2(torch.tensor(x)).item())
