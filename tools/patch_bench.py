"""Seconds and peak memory of patching, beside the same edit by onnx-graphsurgeon, as a table.

    tools/patch_bench.py MODEL.onnx... [--program target/release/infusion-patch] [--runs 3] [--graphsurgeon]

Each run is a process of its own that writes f, c, dual and shared into an empty folder beside the model, where
no weights are copied; the best of --runs is printed. Peak memory is the resident set, which counts the pages of
the mapped model that were read. --graphsurgeon adds the F edit alone by tools/graphsurgeon_bench.py (half a minute
and 10 GB for a full-size UNet). tools/full_size.py makes models of SD-1.5's size.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
GRAPHS = "f,c,dual,shared"
DATA = (".onnx_data", ".data", ".pb")  # how exporters name external weights


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=pathlib.Path, nargs="+", metavar="MODEL")
    parser.add_argument("--program", type=pathlib.Path, default=HERE.parent / "target/release/infusion-patch")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--graphsurgeon", action="store_true")
    options = parser.parse_args()
    print("| model | weights | edit | seconds | peak memory | written |")
    print("|---|---|---|---|---|---|")
    for model in options.models:
        row(model, f"infusion-patch: {GRAPHS}", best(lambda: patch(options.program, model), options.runs))
        if options.graphsurgeon:
            row(model, "onnx-graphsurgeon: f", best(lambda: graphsurgeon(model), 1))


def row(model, edit, figures):
    seconds, peak, written = figures
    weights = sum(f.stat().st_size for f in parts(model))
    print(f"| {model} | {weights / 1e9:.2f} GB | {edit} | {seconds:.2f} | {peak / 1e6:.0f} MB | {written / 1e6:.1f} MB |")


def best(run, runs):
    return min(run() for _ in range(runs))


def patch(program, model):
    with tempfile.TemporaryDirectory(dir=model.parent) as folder:
        beside = link_all(model, pathlib.Path(folder))
        before = set(beside.parent.iterdir())
        seconds, peak = measured([str(program), str(beside), "--emit", GRAPHS, "--quiet"])
        written = sum(f.stat().st_size for f in set(beside.parent.iterdir()) - before)
        return seconds, peak, written


def link_all(model, folder):
    """The model and its data as hard links, so that nothing of an earlier run lies beside it."""
    for file in parts(model):
        os.link(file, folder / file.name)
    return folder / model.name


def parts(model):
    return [f for f in model.parent.iterdir() if f == model or f.is_file() and f.suffix in DATA]


def graphsurgeon(model):
    with tempfile.TemporaryDirectory(dir=model.parent) as folder:
        seconds, peak = measured([sys.executable, str(HERE / "graphsurgeon_bench.py"), str(model), "--out", folder])
        return seconds, peak, sum(f.stat().st_size for f in pathlib.Path(folder).iterdir())


def measured(command):
    """Seconds and peak bytes of a child that must succeed."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: failed")
    return seconds, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
