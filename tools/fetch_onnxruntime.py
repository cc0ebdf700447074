#!/usr/bin/env python3
"""Put an ONNX Runtime library into target/onnxruntime (a few seconds, 25 MB).

Takes it from the `onnxruntime` wheel that pip offers for this machine, or, where
there is none, from the npm package `onnxruntime-node`. Needs Python 3 with pip, or
npm, and nothing else. Does nothing when the wanted version is there already.
"""

import argparse
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

VERSION = "1.32.0"
ROOT = Path(__file__).resolve().parent.parent
LIBRARY = {"Windows": "onnxruntime.dll", "Darwin": "libonnxruntime.dylib"}.get(platform.system(), "libonnxruntime.so")


def is_library(name: str) -> bool:
    """Whether an archive member is the runtime itself or a provider library beside it."""
    base = name.rsplit("/", 1)[-1]
    stem = LIBRARY.split(".")[0]
    return base.startswith(stem) and (".so" in base or base.endswith((".dll", ".dylib")))


def from_pip(version: str, work: Path) -> dict[str, bytes]:
    """The libraries in the wheel of `version` for this machine."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(work), f"onnxruntime=={version}"], check=True)
    wheel = next(work.glob("onnxruntime-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return {n.rsplit("/", 1)[-1]: archive.read(n) for n in archive.namelist() if "/capi/" in n and is_library(n)}


def from_npm(work: Path) -> dict[str, bytes]:
    """The libraries in the newest npm package for this machine."""
    system = {"Linux": "linux", "Darwin": "darwin", "Windows": "win32"}[platform.system()]
    machine = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
    subprocess.run(["npm", "pack", "--silent", "onnxruntime-node"], cwd=work, check=True)
    package = next(work.glob("onnxruntime-node-*.tgz"))
    with tarfile.open(package) as archive:
        wanted = [m for m in archive if f"/{system}/{machine}/" in m.name and is_library(m.name)]
        return {m.name.rsplit("/", 1)[-1]: archive.extractfile(m).read() for m in wanted}


def install(libraries: dict[str, bytes], target: Path, version: str) -> None:
    """Write `libraries` to a new folder and put it in the place of `target`."""
    fresh = Path(tempfile.mkdtemp(dir=target.parent))
    for name, data in libraries.items():
        (fresh / name).write_bytes(data)
    if not (fresh / LIBRARY).exists():
        main = min((n for n in libraries if "providers" not in n), key=len)
        shutil.copyfile(fresh / main, fresh / LIBRARY)
        (fresh / main).unlink()
    (fresh / "version").write_text(version + "\n")
    fresh.chmod(0o755)
    if target.exists():
        shutil.rmtree(target)
    fresh.rename(target)


def link_soname(target: Path) -> None:
    """On Linux, programs that are linked with the library look for it under its SONAME."""
    soname = target / "libonnxruntime.so.1"
    if platform.system() == "Linux" and not soname.exists():
        soname.symlink_to(LIBRARY)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", default=VERSION, help=f"release to fetch (default {VERSION})")
    parser.add_argument("--target", type=Path, default=ROOT / "target" / "onnxruntime")
    options = parser.parse_args()
    stamp = options.target / "version"
    if stamp.exists() and stamp.read_text().strip() == options.version:
        link_soname(options.target)
        return 0
    options.target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        try:
            libraries = from_pip(options.version, Path(work))
        except (subprocess.CalledProcessError, StopIteration) as error:
            print(f"pip has no onnxruntime {options.version} for this machine ({error}); trying npm", file=sys.stderr)
            libraries = from_npm(Path(work))
    if not libraries:
        print("neither the wheel nor the npm package holds a library for this machine", file=sys.stderr)
        return 1
    install(libraries, options.target, options.version)
    link_soname(options.target)
    print(f"ONNX Runtime {options.version} is in {options.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
