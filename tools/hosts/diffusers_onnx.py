"""diffusers' `OnnxStableDiffusionPipeline` with the shared graph in the UNet's place (half a minute).

Loads models/demo; then the same folder with `model.shared.onnx` as its UNet, unfed and fed; then one with a
graph that carries the concept (`infusion-patch --bake`). Compares the pictures with each other and with those of
`infusion generate`, writes them to target/hosts and ends with an error where one is wrong. ("EP Error … Falling
back" on the way is diffusers' own: it gives ONNX Runtime an empty list of options.) Example:

    python tools/hosts/diffusers_onnx.py
"""

import warnings

from common import Fed, arguments, examine, start_noise, token_rows

warnings.filterwarnings("ignore", category=FutureWarning)  # diffusers announces the pipeline's end with 0.43

from diffusers import OnnxStableDiffusionPipeline  # noqa: E402


def load(folder, extra):
    pipeline = OnnxStableDiffusionPipeline.from_pretrained(str(folder))
    pipeline.set_progress_bar_config(disable=True)
    if extra:
        pipeline.unet.model = Fed(pipeline.unet.model, extra)
    return pipeline


def main():
    options = arguments(__doc__)
    rows = token_rows(load(options.model, None).tokenizer, options.prompt, options.word)

    def draw(pipeline):
        settings = {"num_inference_steps": options.steps, "guidance_scale": options.guidance_scale}
        size = {"width": options.size, "height": options.size}
        return pipeline(options.prompt, latents=start_noise(options).numpy(), **size, **settings).images[0]

    examine(options, load, draw, rows)


if __name__ == "__main__":
    main()
