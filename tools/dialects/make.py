"""Makes the dialect exports of one tiny UNet, and the torch references that patched graphs are held against.

    tools/dialects/make.py                 all dialects into target/dialects/<name>/, packed into tests/dialects/
    tools/dialects/make.py --only sdpa-17  one of them
    tools/dialects/make.py --list          their names

Takes about 6 minutes on two cores. tests/dialects/<name>/ holds the files of each dialect compressed (`.gz`),
tests/dialects/index.json describes them, tests/dialects/reference/*.safetensors holds inputs, outputs, maps,
deltas and gradients computed by torch from the equations in double precision.
"""

import argparse
import gzip
import json
import pathlib
import shutil
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import catalogue  # noqa: E402
import describe  # noqa: E402
import reference  # noqa: E402


def main():
    options = arguments()
    chosen = [d for d in catalogue.DIALECTS if not options.only or d.name in options.only]
    unknown = set(options.only or ()) - {d.name for d in catalogue.DIALECTS}
    if unknown:
        sys.exit(f"no such dialect: {', '.join(sorted(unknown))} (see --list)")
    if options.list:
        print("\n".join(f"{d.name:28}{d.about}" for d in catalogue.DIALECTS))
        return
    for dialect in chosen:
        make(dialect, options)
    if not options.only:
        forget_others(options.pack)
    if not options.no_reference:
        reference.write_all(options.pack / "reference", options.only and {d.reference for d in chosen})


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="make these dialects only")
    parser.add_argument("--list", action="store_true", help="list the dialects and stop")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target/dialects", help="plain ONNX files")
    parser.add_argument("--pack", type=pathlib.Path, default=ROOT / "tests/dialects", help="compressed, for git")
    parser.add_argument("--no-reference", action="store_true", help="leave the reference tensors alone")
    return parser.parse_args()


def make(dialect, options):
    start = time.time()
    folder = options.out / dialect.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    dialect.make(folder / "model.onnx")
    entry = describe.entry(dialect, folder)
    packed = pack(folder, options.pack / dialect.name)
    update_index(options.pack / "index.json", entry)
    verdict = entry["source_difference"]
    print(f"{dialect.name:28}{packed / 1024:7.0f} kB{time.time() - start:7.1f} s  {verdict}", flush=True)


def pack(folder, target):
    """Compresses each file of a dialect, reproducibly; answers the bytes written."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    size = 0
    for file in sorted(p for p in folder.iterdir() if p.is_file()):
        data = gzip.compress(file.read_bytes(), 9, mtime=0)
        (target / f"{file.name}.gz").write_bytes(data)
        size += len(data)
    return size


def update_index(path, entry):
    entries = json.loads(path.read_text()) if path.exists() else []
    entries = [e for e in entries if e["name"] != entry["name"]] + [entry]
    order = {d.name: i for i, d in enumerate(catalogue.DIALECTS)}
    entries = sorted((e for e in entries if e["name"] in order), key=lambda e: order[e["name"]])
    path.write_text(json.dumps(entries, indent=1) + "\n")


def forget_others(folder):
    """Drops packed dialects that the catalogue no longer names."""
    known = {d.name for d in catalogue.DIALECTS} | {"reference"}
    for path in folder.iterdir():
        if path.is_dir() and path.name not in known:
            shutil.rmtree(path)


if __name__ == "__main__":
    main()
