"""Goldens of single calls: tokens, embeddings, autoencoder, one UNet call."""

import torch

PROMPTS = [
    "",
    "a photo of a ball",
    "a photo of a ball in the snow",
    "a doughnut on the beach",
    "a traffic cone at night",
    "a small red ball on the grass",
    "a large yellow star on the left side in the night sky",
    "a blue box on the sand and a green house on the right",
    "an orange traffic cone and a pink doughnut on the pavement",
    "A PHOTO OF A House, at sea!",
    "a   photo\tof\na cyan  box",
    "two balls; three boxes (and a star)",
    "the ball's colour isn't green, it's purple",
    "doughnuts, doughnut-shaped, undoughnutted",
    "traffic",
    "cone",
    "an unknown word: xylophone",
    "naïve café Straße",
    "日本語 ball 🎾",
    "35mm f/1.8 1234567890",
    "a, b,c ,d ... e",
    "<ball> <|x|> </w>",
    "a photo of a ball in the snow, " * 12,
    "x" * 120,
    "ball\u00a0snow\u2003sea",
]
EMBEDDED = (0, 2, 3, 4, 22)


def prompts(demo):
    ids = [demo.tokens([prompt])[0].tolist() for prompt in PROMPTS]
    return {"prompts": [{"prompt": p, "input_ids": i} for p, i in zip(PROMPTS, ids)], "embedded": list(EMBEDDED)}


def tensors(demo):
    generator = torch.Generator().manual_seed(5)
    found = {f"text.{i}": demo.embed([PROMPTS[i]])[0] for i in EMBEDDED}
    picture = drawn_picture()
    mean = demo.vae.encode(picture).latent_dist.mean
    latents = mean * demo.vae.config.scaling_factor
    decoded = demo.vae.decode(latents / demo.vae.config.scaling_factor).sample
    found |= {"vae.picture": picture, "vae.mean": mean, "vae.latents": latents, "vae.decoded": decoded}
    sample = torch.randn(2, 4, 16, 16, generator=generator)
    context = demo.embed(["", "a photo of a ball in the snow"])
    timestep = torch.tensor([501])
    output = demo.unet(sample.double(), timestep, context).sample
    return found | {
        "unet.sample": sample,
        "unet.timestep": timestep,
        "unet.encoder_hidden_states": context,
        "unet.output": output,
    }


def drawn_picture(height=64, width=96):
    """A disc on a shaded ground, in -1..1; not square, so that swapped sides are noticed."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    ground = torch.stack([0.3 * y, 0.2 * x, -0.4 + 0.1 * y])
    disc = torch.tensor([0.8, -0.6, -0.7])[:, None, None]
    return torch.where((x - 0.2) ** 2 + (y * 0.7) ** 2 < 0.15, disc, ground)[None]
