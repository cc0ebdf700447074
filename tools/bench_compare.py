"""Runs `infusion bench --json` and tools/bench_torch.py on one model, and prints a table of ratios.

    tools/bench_compare.py --model models/demo [--torch-model models/demo] [--infusion target/release/infusion]
    tools/bench_compare.py --infusion-json a.json --torch-json b.json      (measured before)

`--model` goes to infusion; `--torch-model` (default the same, or `full-size`) to PyTorch; what follows `--`
goes to `infusion bench`, such as `-- --modes train-low,train,train-fast` for a step of learning. Takes as long
as the two benchmarks: seconds for the demo model, many minutes at full size. The ratio is infusion's by
PyTorch's: under 1 is faster, or smaller.
"""

import argparse
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
COUNTERPART = {
    "plain": "plain",
    "f+c": "separate",
    "dual": "separate",
    "naive": "separate",
    "shared": "shared",
    "train-low": "train",
    "train": "train",
    "train-fast": "train",
}


def main():
    options = arguments()
    ours = options.infusion_json or infusion(options)
    theirs = options.torch_json or pytorch(options, sorted({COUNTERPART[mode] for mode in ours["modes"] if mode in COUNTERPART}))
    print(table(ours["modes"], theirs["modes"]))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/demo")
    parser.add_argument("--torch-model")
    parser.add_argument("--infusion", default="target/release/infusion", help="the program")
    parser.add_argument("--size", type=int, help="latent height and width (PyTorch's side)")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch's threads")
    parser.add_argument("--infusion-json", type=read)
    parser.add_argument("--torch-json", type=read)
    parser.add_argument("rest", nargs="*", help="after `--`: further options of `infusion bench`")
    return parser.parse_args()


def read(path):
    return json.loads(pathlib.Path(path).read_text())


def infusion(options):
    command = [options.infusion, "bench", "--model", options.model, "--json", *options.rest]
    return json.loads(output(command))


def pytorch(options, modes):
    command = [sys.executable, str(HERE / "bench_torch.py"), "--model", options.torch_model or options.model]
    command += ["--modes", *modes, "--threads", str(options.threads)] + (["--size", str(options.size)] if options.size else [])
    return json.loads(output(command))


def output(command):
    print("$", " ".join(command), file=sys.stderr, flush=True)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def table(ours, theirs):
    lines = [f"{'mode':10}{'infusion':>18}{'PyTorch':>18}{'time':>8}{'memory':>8}   PyTorch's mode"]
    for mode, mine in ours.items():
        other = COUNTERPART.get(mode)
        if other not in theirs:
            lines.append(f"{mode:10}{cell(mine):>18}{'':>18}{'':>8}{'':>8}   none")
            continue
        time = mine["median_s"] / theirs[other]["median_s"]
        memory = mine["peak_bytes"] / theirs[other]["peak_bytes"] if mine.get("peak_bytes") else float("nan")
        lines.append(f"{mode:10}{cell(mine):>18}{cell(theirs[other]):>18}{time:8.2f}{memory:8.2f}   {other}")
    return "\n".join(lines)


def cell(found):
    peak = found.get("peak_bytes")
    return f"{found['median_s']:.3f} s" + (f" {peak / 2**30:5.1f} GiB" if peak else "")


if __name__ == "__main__":
    main()
