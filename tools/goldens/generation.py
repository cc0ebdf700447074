"""Goldens of whole generations: plain DDIM, and the two streams in both modes."""

import copy

import diffusers
import torch
from diffusers import DDIMScheduler
from diffusers.models.attention_processor import AttnProcessor2_0
from PIL import Image
from torch_infusion import Streams

STEPS, GUIDANCE, SEED = 50, 8.0, 0
KEPT = (0, 1, 10, 49)
PLAIN_PROMPT = "a red ball on the grass"
STREAM_PROMPT = "a photo of a ball and a traffic cone in the snow"
CONCEPTS = {"one": [["ball"]], "two": [["ball"], ["traffic", "cone"]]}
DELTA_SCALE = 0.5
SETTINGS = {
    "num_inference_steps": STEPS,
    "guidance_scale": GUIDANCE,
    "seed": SEED,
    "plain_prompt": PLAIN_PROMPT,
    "stream_prompt": STREAM_PROMPT,
    "concepts": CONCEPTS,
    "kept_steps": KEPT,
    "diffusers": diffusers.__version__,
    "torch": torch.__version__.split("+")[0],
}


def plain(demo, png):
    noise = start_noise()
    context = demo.embed(["", PLAIN_PROMPT])
    streams = Streams(demo.unet)
    kept = {"noise": noise}

    def guided(latents, timestep):
        return guide(streams.foundation(torch.cat([latents] * 2), timestep, context))

    latents = run(demo, noise, guided, kept, "latents")
    against_diffusers(demo, noise, latents)
    decoded = demo.vae.decode((latents / demo.vae.config.scaling_factor).float()).sample[0]
    picture = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    Image.fromarray(picture.numpy()).save(png)
    return kept | {"picture": picture}


def against_diffusers(demo, noise, latents):
    """The loop written here is diffusers' own: its pipeline, in float32, ends at the same latents."""
    unet = copy.deepcopy(demo.unet).float()
    unet.set_attn_processor(AttnProcessor2_0())
    pipeline = diffusers.StableDiffusionPipeline(
        vae=demo.vae,
        text_encoder=demo.text_encoder,
        tokenizer=demo.tokenizer,
        unet=unet,
        scheduler=scheduler(demo),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    found = pipeline(
        PLAIN_PROMPT,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=noise.clone(),
        output_type="latent",
    ).images
    apart = ((found - latents).abs().max() / latents.abs().max()).item()
    print(f"{'generation':14} diffusers' pipeline in float32 is {apart:.1e} apart", flush=True)
    if not apart < 1e-2:
        raise SystemExit("the DDIM loop is not diffusers'")


def streams(demo):
    streams = Streams(demo.unet)
    context = demo.embed(["", STREAM_PROMPT])
    noise = start_noise()
    kept = {"noise": noise}
    for label, words in CONCEPTS.items():
        mask, delta = edit(demo, words, streams.total_width)
        kept |= {f"{label}.mask": mask, f"{label}.delta": delta}
        mask = torch.cat([torch.zeros_like(mask), mask])
        kept |= separate(demo, streams, context, noise, mask, delta, f"{label}.separate")

        def shared(latents, timestep):
            both = streams.shared(torch.cat([latents] * 2), timestep, context, mask, delta, torch.tensor([1]))
            return guide(both[0])

        run(demo, noise, shared, kept, f"{label}.shared.c")
    return kept


def separate(demo, streams, context, noise, mask, delta, label):
    """Both trajectories in step, each on its own latents; the unconditional row of C takes F's maps too."""
    kept, steps_f, steps_c = {}, scheduler(demo), scheduler(demo)
    f = c = noise.double() * steps_f.init_noise_sigma
    for k, timestep in enumerate(steps_f.timesteps):
        predictions = streams.separate(
            torch.cat([f] * 2), torch.cat([c] * 2), timestep, context, mask, delta
        )
        f = steps_f.step(guide(predictions[0]), timestep, f).prev_sample
        c = steps_c.step(guide(predictions[1]), timestep, c).prev_sample
        if k in KEPT:
            kept |= {f"{label}.f.{k}": f, f"{label}.c.{k}": c}
    return kept


def run(demo, noise, guided, kept, label):
    steps = scheduler(demo)
    latents = noise.double() * steps.init_noise_sigma
    for k, timestep in enumerate(steps.timesteps):
        latents = steps.step(guided(latents, timestep), timestep, latents).prev_sample
        if k in KEPT:
            kept[f"{label}.{k}"] = latents
    return latents


def scheduler(demo):
    found = DDIMScheduler.from_pretrained(demo.folder / "scheduler")
    found.set_timesteps(STEPS)
    return found


def guide(prediction):
    unconditional, conditional = prediction.chunk(2)
    return unconditional + GUIDANCE * (conditional - unconditional)


def start_noise(side=16):
    return torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(SEED))


def edit(demo, concepts, width):
    """mask [1,77,S] and delta [S,D], one slot a concept; a concept is a list of words."""
    tokens = demo.tokens([STREAM_PROMPT])[0].tolist()
    mask = torch.zeros(1, 77, len(concepts), dtype=torch.float64)
    for slot, words in enumerate(concepts):
        for word in words:
            for token in demo.tokenizer(word, add_special_tokens=False).input_ids:
                mask[0, tokens.index(token), slot] = 1
    generator = torch.Generator().manual_seed(21)
    return mask, DELTA_SCALE * torch.randn(len(concepts), width, generator=generator).double()
