"""Reference tensors of the dialect tests, computed by torch in double precision and stored as float32.

Names in a file (B=2 rows, L=77 tokens, 8x8 latents):
  sample, timestep, encoder_hidden_states, output      one call of the UNet
  probs.{i} [B,H,N,L]                                  F's map of layers 0, 6, 15 (where the model has them)
  probs_mean_token.{i} [B,H,N]                         sum over l of l * probs, for every layer
  value.{i} [B,L,d]                                    F's value of every layer
  mask.{one,two} [B,L,S], delta.{one,two} [S,D]        one and two concept slots; row 0 of mask.one is zero
  c.{one,two}                                          C with F's maps at the same latent
  shared.rows [1], shared.{one,two}                    C in those rows, F elsewhere (row 0 of mask.two is not zero)
  dual.sample [2B,..], dual.{one,two} [2B,..]          F rows, then C rows on other latents with F's maps
  train.target, train.{one,two}.{loss,grad,prediction} mean squared error of C, d loss / d delta by autograd
"""

import functools

import torch
from networks import CONTEXT, ROWS, SIZE, TOKENS, four, linear, narrow
from safetensors.torch import save_file
from torch_infusion import Streams

NETWORKS = {"narrow": narrow, "linear": linear, "four": four}
FULL_MAPS = (0, 6, 15)
TIMESTEP = 401


def write_all(folder, only=None):
    folder.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        if not only or name in only:
            save_file(tensors(name), folder / f"{name}.safetensors")


@functools.cache
def modules(name):
    streams = Streams(NETWORKS[name]())
    return {
        "layers": len(streams.paths),
        "heads": streams.heads,
        "value_widths": streams.widths,
        "modules": streams.paths,
    }


@functools.cache
def tensors(name):
    streams = Streams(NETWORKS[name]().double())
    timestep = torch.tensor(TIMESTEP)
    sample, context, target, sample_c = inputs()
    more = {}

    output = streams.foundation(sample, timestep, context)
    maps, values = dict(streams.maps), dict(streams.values)
    for i, probs in maps.items():
        more[f"value.{i}"] = values[i]
        more[f"probs_mean_token.{i}"] = probs @ torch.arange(TOKENS, dtype=probs.dtype)
        if i in FULL_MAPS:
            more[f"probs.{i}"] = probs

    for label, (mask, delta) in edits(streams.total_width).items():
        more |= {f"mask.{label}": mask, f"delta.{label}": delta}
        more[f"c.{label}"] = streams.customised(sample, timestep, context, maps, mask, delta)
        rows = torch.tensor([ROWS - 1])
        more[f"shared.{label}"], _ = streams.shared(sample, timestep, context, mask, delta, rows)
        dual = streams.separate(sample, sample_c, timestep, context, mask, delta)
        more[f"dual.{label}"] = torch.cat(dual)
        loss, grad, prediction = streams.gradient(sample, timestep, context, mask, delta, target)
        more |= {
            f"train.{label}.loss": loss,
            f"train.{label}.grad": grad,
            f"train.{label}.prediction": prediction,
        }
    found = {
        "sample": sample,
        "timestep": timestep,
        "encoder_hidden_states": context,
        "output": output,
        "dual.sample": torch.cat([sample, sample_c]),
        "shared.rows": rows,
        "train.target": target,
        **more,
    }
    return {n: t.float().contiguous() if t.is_floating_point() else t for n, t in found.items()}


def inputs():
    generator = torch.Generator().manual_seed(7)

    def noise(*shape):
        """Exact in half precision, so that fp16 graphs see the very same numbers."""
        return torch.randn(*shape, generator=generator).half().double()

    latents = (ROWS, 4, SIZE, SIZE)
    return noise(*latents), noise(ROWS, TOKENS, CONTEXT), noise(*latents), noise(*latents)


def edits(width):
    """(mask, delta) of one slot on two tokens of the last row, and of two slots over both rows."""
    generator = torch.Generator().manual_seed(11)
    deltas = torch.randn(3, width, generator=generator).half().double()
    one = torch.zeros(ROWS, TOKENS, 1, dtype=torch.float64)
    one[ROWS - 1, 5:7, 0] = 1
    two = torch.zeros(ROWS, TOKENS, 2, dtype=torch.float64)
    two[0, 3, 0] = two[ROWS - 1, 5, 0] = 1
    two[ROWS - 1, 9, 1], two[ROWS - 1, 10, 1] = 0.5, 0.75
    return {"one": (one, 4 * deltas[:1]), "two": (two, 4 * deltas[1:])}
