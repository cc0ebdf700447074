#!/bin/sh
# Installs what the tests of the bindings run: CMake, pkg-config, mono's C# compiler and runtime, valgrind, and the headers of
# ONNX Runtime's C++ API (Debian and Ubuntu, as root; half a minute, nothing where all is there).
set -eu
cd "$(dirname "$0")/.."

packages=
need() {
  command -v "$1" > /dev/null || packages="$packages $2"
}
need cc gcc
need c++ g++
need cmake cmake
need pkg-config pkg-config
need objdump binutils
need mono mono-runtime
need mcs mono-mcs
need valgrind valgrind

if [ -n "$packages" ]; then
  command -v apt-get > /dev/null || { echo "please install:$packages" >&2; exit 1; }
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages > /dev/null
  echo "installed:$packages"
fi
python3 tools/fetch_onnxruntime_headers.py
