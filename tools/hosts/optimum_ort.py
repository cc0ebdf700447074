"""optimum's `ORTStableDiffusionPipeline` with the shared graph in the UNet's place (half a minute).

What `diffusers_onnx.py` does, with the host that follows it. Needs the packages of requirements-optimum.txt, in
an environment of their own: optimum-onnx wants transformers 4, everything else here is made with 5. Example:

    python -m venv .venv-optimum && .venv-optimum/bin/pip install -r tools/requirements-optimum.txt
    .venv-optimum/bin/python tools/hosts/optimum_ort.py
"""

from common import Fed, arguments, examine, start_noise, token_rows
from optimum.onnxruntime import ORTStableDiffusionPipeline


def load(folder, extra):
    pipeline = ORTStableDiffusionPipeline.from_pretrained(str(folder))
    pipeline.set_progress_bar_config(disable=True)
    # optimum hands on the outputs with the source's put last, and diffusers takes the first: F's prediction.
    pipeline.unet.output_names.pop("infusion.foundation", None)
    if extra:
        pipeline.unet.session = Fed(pipeline.unet.session, extra)
    return pipeline


def main():
    options = arguments(__doc__)
    rows = token_rows(load(options.model, None).tokenizer, options.prompt, options.word)

    def draw(pipeline):
        settings = {"num_inference_steps": options.steps, "guidance_scale": options.guidance_scale}
        size = {"width": options.size, "height": options.size}
        return pipeline(options.prompt, latents=start_noise(options), **size, **settings).images[0]

    examine(options, load, draw, rows)


if __name__ == "__main__":
    main()
