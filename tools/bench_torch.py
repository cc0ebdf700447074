"""Times a guided step of the UNet in PyTorch: plain, with two streams, and one training step.

    tools/bench_torch.py [--model full-size|models/demo] [--size 64] [--threads 2] [--repeats 3] [--modes plain ...]

Prints JSON: per mode the median, least and greatest seconds a step, and the process's peak memory in bytes.
Each mode runs in a process of its own, so that peaks are its own. At full size and 64x64 latents a step takes
about 10 s (plain) to 40 s (train) on two cores; `--size 32` is four times quicker. Streams keep their maps
in memory, as the attention processors of torch_infusion.py do.

  plain     2 rows, PyTorch's scaled_dot_product_attention
  separate  F on 2 rows, then C on 2 other rows with F's maps
  shared    F on 2 rows, then C on the conditional row
  train     loss and its gradient with respect to delta, batch 1
"""

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
MODES = ("plain", "separate", "shared", "train")


def main():
    options = arguments()
    if options.one:
        print(json.dumps(measure(options, options.one)))
        return
    modes = {mode: in_own_process(mode) for mode in options.modes}
    print(json.dumps({"model": options.model, "size": options.size, "threads": options.threads, "modes": modes}, indent=1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="full-size", help="`full-size`, or a folder with unet/model.onnx")
    parser.add_argument("--size", type=int, default=None, help="height and width of the latents; 64, demo 16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--one", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.size = options.size or (64 if options.model == "full-size" else 16)
    return options


def in_own_process(mode):
    found = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--one", mode], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(found.stdout.splitlines()[-1])


def measure(options, mode):
    import torch

    torch.set_num_threads(options.threads)
    step = STEPS[mode](torch, network(torch, options.model), options.size)
    step()
    times = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"median_s": statistics.median(times), "min_s": min(times), "max_s": max(times), "peak_bytes": peak}


def network(torch, model):
    sys.path[:0] = [str(HERE), str(HERE / "demo_model")]
    if model != "full-size":
        import torch_from_onnx

        return torch_from_onnx.load_unet(pathlib.Path(model)).requires_grad_(False)
    import full_size

    unet = full_size.network()
    pool = torch.randn(1 << 20) * 0.02
    for p in unet.parameters():
        p.copy_(pool.repeat(-(-p.numel() // len(pool)))[: p.numel()].view(p.shape))
    return unet


def inputs(torch, unet, size, rows):
    context = torch.randn(rows, 77, unet.config.cross_attention_dim)
    return torch.randn(rows, 4, size, size), torch.tensor(401), context


def edit(torch, streams, rows):
    """One concept on one token of the last row."""
    mask = torch.zeros(rows, 77, 1)
    mask[-1, 5] = 1
    return mask, torch.randn(1, streams.total_width) * 0.1


def plain(torch, unet, size):
    sample, timestep, context = inputs(torch, unet, size, 2)
    return without_gradients(torch, lambda: unet(sample, timestep, context, return_dict=False))


def separate(torch, unet, size):
    streams, (sample, timestep, context) = streams_of(unet), inputs(torch, unet, size, 2)
    mask, delta = edit(torch, streams, 2)
    other = torch.randn_like(sample)
    return without_gradients(torch, lambda: streams.separate(sample, other, timestep, context, mask, delta))


def shared(torch, unet, size):
    streams, (sample, timestep, context) = streams_of(unet), inputs(torch, unet, size, 2)
    mask, delta = edit(torch, streams, 2)
    rows = torch.tensor([1])
    return without_gradients(torch, lambda: streams.shared(sample, timestep, context, mask, delta, rows))


def train(torch, unet, size):
    unet.requires_grad_(False)
    streams, (sample, timestep, context) = streams_of(unet), inputs(torch, unet, size, 1)
    mask, delta = edit(torch, streams, 1)
    target = torch.randn_like(sample)
    return lambda: streams.gradient(sample, timestep, context, mask, delta, target)


def without_gradients(torch, step):
    def run():
        with torch.inference_mode():
            step()

    return run


def streams_of(unet):
    from torch_infusion import Streams

    return Streams(unet)


STEPS = {"plain": plain, "separate": separate, "shared": shared, "train": train}

if __name__ == "__main__":
    main()
