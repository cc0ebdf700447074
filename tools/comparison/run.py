"""The whole comparison: train, score, figures, with all that comes out under target/comparison/results.

    run.py [--jobs 2] [--steps 50,100,200,400,1000,2000] [--methods ...] [--concepts ...] [--samples 80]

A job trains one method on one concept and scores its exports, in a process of its own with one thread; jobs go side by
side, concept after concept, so that a run that is stopped leaves whole concepts. It goes on where it was stopped. Each
job's output is under target/comparison/logs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
CONCEPTS = "two_tone_ball,red_roof_house,iced_doughnut"
METHODS = "infusion,textual_inversion,dreambooth,dreambooth_lora,custom_diffusion,perfusion"
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


def script(name: str, *arguments) -> list[str]:
    return [sys.executable, "-W", "ignore", str(HERE / name), *map(str, arguments)]


def job(a: argparse.Namespace, concept: str, method: str) -> bool:
    """Trains and scores; what failed is told, and is tried again by the next run."""
    began, log = time.monotonic(), a.work / "logs" / f"{concept}-{method}.log"
    where = ("--model", a.model, "--work", a.work, "--concepts", concept, "--methods", method)
    commands = [
        script("train.py", *where, "--steps", a.steps, "--seed", a.seed),
        script("score.py", *where, "--program", a.program, *budget(a)),
    ]
    with log.open("a") as out:
        for command in commands:
            done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | ONE_THREAD)
            if done.returncode:
                print(f"{concept} {method}: failed, see {log}", flush=True)
                return False
    print(f"{concept} {method}: {time.monotonic() - began:.0f} s", flush=True)
    return True


def budget(a: argparse.Namespace) -> tuple:
    return "--samples", a.samples, "--inference-steps", a.inference_steps


def figures(a: argparse.Namespace) -> None:
    last = max(int(step) for step in a.steps.split(","))
    subprocess.run(script("figures.py", "--work", a.work, *budget(a)), check=True)
    if set(CONCEPTS.split(",")) <= set(a.concepts) and "infusion" in a.methods:
        subprocess.run(script("mix.py", "--model", a.model, "--work", a.work, "--program", a.program, "--steps", last), check=True)


def names(text: str) -> list[str]:
    return text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=REPOSITORY / "models/demo")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "target/comparison")
    parser.add_argument("--program", type=Path, default=REPOSITORY / "target/release/infusion")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="side by side [default: one for each core]")
    parser.add_argument("--steps", default="50,100,200,400,1000,2000")
    parser.add_argument("--methods", type=names, default=names(METHODS))
    parser.add_argument("--concepts", type=names, default=names(CONCEPTS))
    parser.add_argument("--samples", type=int, default=80)
    parser.add_argument("--inference-steps", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    if not a.program.exists():
        raise SystemExit(f"{a.program}: run cargo build --release first, or name it by --program")
    (a.work / "logs").mkdir(parents=True, exist_ok=True)
    pairs = [(concept, method) for concept in a.concepts for method in a.methods]
    with ThreadPoolExecutor(a.jobs) as pool:
        done = list(pool.map(lambda pair: job(a, *pair), pairs))
    figures(a)
    if not all(done):
        raise SystemExit(f"{done.count(False)} of {len(done)} jobs failed; the same command goes on")


if __name__ == "__main__":
    main()
