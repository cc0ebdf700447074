#!/usr/bin/env python3
"""Put the headers of ONNX Runtime's C++ API into target/onnxruntime-headers (seconds, 85 kB).

The tests' C++ host is written against them. They come from Debian's package libonnxruntime-dev: as installed, or
as apt offers it, or, where this Debian is older than the package, from the release that has it first, through the
mirror that apt uses here. Nothing is installed. Does nothing when they are there already.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "target/onnxruntime-headers"
INSTALLED = [Path("/usr/include/onnxruntime"), Path("/usr/local/include/onnxruntime")]
PACKAGE, HEADER = "libonnxruntime-dev", "onnxruntime_cxx_api.h"
SUITE, KEYRING = "trixie", "/usr/share/keyrings/debian-archive-keyring.gpg"


def output(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def mirror() -> str:
    """Where apt takes Debian's main packages from."""
    targets = output("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Identifier: Packages")
    for line in targets.splitlines():
        origin, label, uri = line.split("|")
        if (origin, label) == ("Debian", "Debian"):
            return uri
    raise SystemExit(f"apt knows no {PACKAGE} and no mirror of Debian; put its headers into {TARGET}")


def options(folder: Path) -> list[str]:
    """apt's options for the lists of SUITE in a folder of its own."""
    (folder / "lists/partial").mkdir(parents=True)
    (folder / "archives/partial").mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {SUITE} main\n")
    paths = {"Etc::sourcelist": "sources.list", "State::Lists": "lists", "Cache::Archives": "archives"}
    settings = [f"Dir::{key}={folder / name}" for key, name in paths.items()]
    settings += ["Dir::Etc::sourceparts=/dev/null", f"Dir::Cache::pkgcache={folder}/p", f"Dir::Cache::srcpkgcache={folder}/s"]
    settings += ["APT::Sandbox::User=root", "Acquire::Languages=none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]
    return [word for setting in settings for word in ("-o", setting)]


def offered() -> bool:
    policy = output("apt-cache", "policy", PACKAGE)
    return "Candidate:" in policy and "Candidate: (none)" not in policy


def download(folder: Path) -> Path:
    """The package's headers, unpacked below `folder`."""
    more = []
    if not offered():
        more = options(folder)
        subprocess.run(["apt-get", *more, "-qq", "update"], check=True)
    subprocess.run(["apt-get", *more, "-qq", "download", PACKAGE], check=True, cwd=folder, stderr=subprocess.PIPE)
    archive = next(folder.glob(f"{PACKAGE}_*.deb"))
    subprocess.run(["dpkg-deb", "-x", archive, folder / "package"], check=True)
    return next((folder / "package").rglob(HEADER)).parent


def install(headers: Path) -> None:
    fresh = Path(tempfile.mkdtemp(dir=TARGET.parent))
    for header in headers.glob("*.h"):
        shutil.copyfile(header, fresh / header.name)
    fresh.chmod(0o755)
    shutil.rmtree(TARGET, ignore_errors=True)
    fresh.rename(TARGET)
    print(f"the headers of ONNX Runtime's C++ API are in {TARGET}")


def main() -> None:
    if (TARGET / HEADER).exists():
        return
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    installed = [folder for folder in INSTALLED if (folder / HEADER).exists()]
    if installed:
        return install(installed[0])
    if not shutil.which("apt-get"):
        sys.exit(f"put the headers of ONNX Runtime's C++ API ({HEADER} and its neighbours) into {TARGET}")
    with tempfile.TemporaryDirectory() as folder:
        install(download(Path(folder)))


if __name__ == "__main__":
    main()
