"""Write tests/backbones: tiny random CLIP, ViT and DINOv2 models in ONNX, and what transformers makes of pictures.

The exports look as optimum makes them: CLIP in one graph (`clip/model.onnx`) and in two (`clip-split`), ViT and DINOv2
with `last_hidden_state`. `goldens.json` holds embeddings and cosines. Takes half a minute; under 300 kB.
"""

import argparse
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import torch
from PIL import Image
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

ROOT = Path(__file__).resolve().parent.parent.parent
PROMPTS = ["a photo of a ball in the snow", "two balls"]
SMALL = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


class Part(torch.nn.Module):
    def __init__(self, model, call):
        super().__init__()
        self.model, self.call = model, call

    def forward(self, *inputs):
        return self.call(self.model, *inputs)


def export(model, call, path: Path, inputs: dict, outputs: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    axes = {name: {0: "batch"} for name in [*inputs, *outputs]}
    torch.onnx.export(
        Part(model, call).eval(), tuple(inputs.values()), str(path), input_names=list(inputs), output_names=outputs,
        dynamic_axes=axes, opset_version=17, dynamo=False,
    )  # fmt: skip
    model = onnx.load(path)
    for node in model.graph.node:
        node.ClearField("doc_string")
        node.ClearField("name")
        del node.metadata_props[:]
    onnx.save(model, path)


def describe(folder: Path, processor: dict, config: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=1) + "\n")
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def pictures(folder: Path) -> list[Path]:
    """A wide and a tall picture with edges and gradients, and one that is smaller than the models' inputs."""
    made = []
    for name, (width, height) in {"wide": (90, 61), "tall": (50, 60), "small": (17, 19)}.items():
        y, x = np.mgrid[:height, :width]
        channels = (x * 255 // width, y * 255 // height, 255 * ((x // 9 + y // 7) % 2))
        made.append(folder / f"{name}.png")
        Image.fromarray(np.stack(channels, -1).astype(np.uint8)).save(made[-1], optimize=True)
    return made


def normalised(processor: dict) -> dict:
    return {**processor, "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_resize": True}


def make_clip(folder: Path, files: list[Path]) -> dict:
    tokenizer = CLIPTokenizer.from_pretrained(str(ROOT / "tests/goldens/tokenizer"))
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(5)
    text = {**SMALL, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": 77, "pad_token_id": 1}
    vision = {**SMALL, "image_size": 24, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval()
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.15  # embeddings that tell pictures apart
    processor = normalised({
        "image_processor_type": "CLIPImageProcessor", "do_center_crop": True, "crop_size": {"height": 24, "width": 24},
        "size": {"shortest_edge": 24}, "resample": 3, "do_convert_rgb": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    })  # fmt: skip
    config = {"model_type": "clip", "_name_or_path": "tiny/clip", "projection_dim": 8}
    ids = tokenizer(PROMPTS, padding="max_length", max_length=77, return_tensors="pt")
    inputs = {"input_ids": ids.input_ids, "pixel_values": torch.randn(2, 3, 24, 24), "attention_mask": ids.attention_mask}
    both = lambda m, i, p, a: (lambda o: (o.logits_per_image, o.text_embeds, o.image_embeds))(m(i, p, a))  # noqa: E731
    export(model, both, folder / "clip/model.onnx", inputs, ["logits_per_image", "text_embeds", "image_embeds"])
    split = folder / "clip-split/onnx"
    images = lambda m, p: m.visual_projection(m.vision_model(p).pooler_output)  # noqa: E731
    texts = lambda m, i: m.text_projection(m.text_model(i).pooler_output)  # noqa: E731
    export(model, images, split / "vision_model.onnx", {"pixel_values": inputs["pixel_values"]}, ["image_embeds"])
    export(model, texts, split / "text_model.onnx", {"input_ids": ids.input_ids}, ["text_embeds"])
    for name in ("clip", "clip-split"):
        describe(folder / name, processor, config)
        for source in (ROOT / "tests/goldens/tokenizer").glob("[mvt]*"):
            shutil.copy(source, folder / name / source.name)
    settings = {key: value for key, value in processor.items() if key != "image_processor_type"}
    pixels = CLIPImageProcessorPil(**settings)([Image.open(file) for file in files], return_tensors="pt").pixel_values
    with torch.no_grad():
        embedded = model(ids.input_ids, pixels, ids.attention_mask)
    image, text = embedded.image_embeds, embedded.text_embeds
    return {"images": image.tolist(), "texts": text.tolist(), "cosines": (image @ text.T).tolist()}


def make_vision(folder: Path, files: list[Path], name: str, model, processor: dict, pil, config: dict) -> dict:
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.15
    model.eval()
    size = model.config.image_size
    hidden = lambda m, p: m(p).last_hidden_state  # noqa: E731
    export(model, hidden, folder / name / "model.onnx", {"pixel_values": torch.randn(2, 3, size, size)}, ["last_hidden_state"])
    describe(folder / name, processor, config)
    settings = {key: value for key, value in processor.items() if key != "image_processor_type"}
    with torch.no_grad():
        images = [model(pil(**settings)(Image.open(f), return_tensors="pt").pixel_values).last_hidden_state[0, 0] for f in files]
    pairs = itertools.combinations(images, 2)
    cosines = [float(torch.nn.functional.cosine_similarity(a, b, dim=0)) for a, b in pairs]
    return {"images": [image.tolist() for image in images], "cosines": cosines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "tests/backbones")
    folder = parser.parse_args().out
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.set_num_threads(1)
    files = pictures(folder)
    goldens = {"pictures": [file.name for file in files], "prompts": PROMPTS, "clip": make_clip(folder, files)}
    torch.manual_seed(6)
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    vit = normalised({"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "resample": 2, **half})
    model = ViTModel(ViTConfig(**SMALL, image_size=32, patch_size=8), add_pooling_layer=False)
    goldens["vit"] = make_vision(folder, files, "vit", model, vit, ViTImageProcessorPil, {"model_type": "vit"})
    usual = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    bit = normalised({
        "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 32}, "resample": 3,
        "do_center_crop": True, "crop_size": {"height": 28, "width": 28}, "do_convert_rgb": True, **usual,
    })  # fmt: skip
    small = {key: value for key, value in SMALL.items() if key != "intermediate_size"}
    model = Dinov2Model(Dinov2Config(**small, image_size=28, patch_size=7))
    goldens["dinov2"] = make_vision(folder, files, "dinov2", model, bit, BitImageProcessorPil, {"model_type": "dinov2"})
    (folder / "goldens.json").write_text(json.dumps(goldens) + "\n")
    print(f"{sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
