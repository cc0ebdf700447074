"""Makes tests/goldens/demo: what torch and diffusers compute with the demo model in models/demo.

    tools/goldens/make.py [--model models/demo] [--out tests/goldens/demo]

Takes about 3 minutes on one core. Weights are read from the ONNX files; each network is first held against
ONNX Runtime, so that a golden can only be about the model that is shipped. Trajectories and gradients are
computed in double precision from float32 start noise and stored as float32.

  tokens.json             25 prompts and their 77 token ids by transformers' CLIPTokenizer; the settings of the rest
  model.safetensors       text.{i}: embeddings [77,C] of the prompts in tokens.json["embedded"];
                          vae.picture [1,3,H,W] in -1..1, vae.mean (unscaled), vae.latents (scaled), vae.decoded;
                          unet.{sample,timestep,encoder_hidden_states,output}
  generation.safetensors  plain 50-step DDIM at guidance 8 from seed 0: noise, latents.{0,1,10,49} (after that step,
                          counted from 0), picture [H,W,3] uint8 (also generation.png)
  streams.safetensors     {one,two}.{mask [1,77,S],delta [S,D]}, and for both modes
                          {one,two}.separate.{f,c}.{0,1,10,49}, {one,two}.shared.c.{0,1,10,49}
  training.safetensors    batch 2: sample, timestep, encoder_hidden_states, mask, delta, target, loss, grad, prediction;
                          adam.*: 20 steps at lr 0.01 from delta 0: latents [5,..], picked [20,2], noise [20,2,..],
                          timestep [20,2], mask, encoder_hidden_states [77,C], losses [20], delta.{1,5,20}
"""

import argparse
import hashlib
import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "demo_model")]

import generation  # noqa: E402
import single_calls  # noqa: E402
import torch_from_onnx  # noqa: E402
import training  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import CLIPTokenizer  # noqa: E402

TOLERANCE = 1e-3  # float32 against float32 on outputs of order one


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models/demo")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "tests/goldens/demo")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    demo = Demo(options.model)
    demo.check()
    facts = single_calls.prompts(demo) | {"model": hashes(options.model), **generation.SETTINGS}
    (options.out / "tokens.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    write(options.out / "model.safetensors", single_calls.tensors, demo)
    write(options.out / "generation.safetensors", generation.plain, demo, options.out / "generation.png")
    write(options.out / "streams.safetensors", generation.streams, demo)
    write(options.out / "training.safetensors", training.tensors, demo)


class Demo:
    """The networks of the model folder: text encoder and autoencoder in float32, UNet in float64."""

    def __init__(self, folder):
        self.folder = folder
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        unet, self.text_encoder, self.vae = torch_from_onnx.load_torch(folder)
        for network in (unet, self.text_encoder, self.vae):
            network.requires_grad_(False)
        self.unet = unet.double()

    def check(self):
        """The networks read from the files compute what ONNX Runtime computes with them."""
        for name, apart in torch_from_onnx.differences(self.folder).items():
            print(f"{name:14} torch and ONNX Runtime are {apart:.1e} apart", flush=True)
            if not apart <= TOLERANCE:
                raise SystemExit(f"{self.folder / name}: the weights read from it do not compute what it computes")

    def embed(self, prompts):
        """Embeddings [B,77,C] in float64, computed in float32."""
        return self.text_encoder(self.tokens(prompts)).last_hidden_state.double()

    def tokens(self, prompts):
        padded = self.tokenizer(prompts, padding="max_length", truncation=True, max_length=77, return_tensors="pt")
        return padded.input_ids


def write(path, make, *arguments):
    start = time.time()
    tensors = {n: t.float() if t.dtype.is_floating_point else t for n, t in make(*arguments).items()}
    save_file({n: t.contiguous() for n, t in tensors.items()}, path)
    path.chmod(0o644)
    print(f"{path.name:26}{path.stat().st_size / 1024:7.0f} kB{time.time() - start:7.1f} s", flush=True)


def hashes(folder):
    files = sorted(folder.glob("*/model.onnx"))
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


if __name__ == "__main__":
    main()
