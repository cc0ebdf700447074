#!/bin/sh
# Installs what was built: packaging/install.sh install|uninstall, for `make install` and `make uninstall`.
#
# PREFIX   where to (default /usr/local)
# LIBDIR   for the library (default $PREFIX/lib); below PREFIX
# DESTDIR  a staging folder that is put before every path, for packagers (default none)
# BUILD    the folder with libinfusion.so, infusion and infusion-patch (default target/release)
set -eu
cd "$(dirname "$0")/.."
action=${1:?install or uninstall}
prefix=${PREFIX:-/usr/local}
libdir=${LIBDIR:-$prefix/lib}
destdir=${DESTDIR:-}
build=${BUILD:-target/release}

fail() {
  echo "packaging/install.sh: $*" >&2
  exit 1
}

case $prefix$libdir in
  *[!A-Za-z0-9/._+~@-]*) fail "PREFIX and LIBDIR: CMake and pkg-config files cannot hold '$prefix', '$libdir'" ;;
esac
case $prefix in /*) ;; *) fail "PREFIX=$prefix is not absolute" ;; esac
case $libdir in "$prefix"/*) ;; *) fail "LIBDIR=$libdir is not below PREFIX=$prefix" ;; esac
lib=${libdir#"$prefix"/}

programs="infusion infusion-patch"
headers="infusion.h infusion.hpp"
bin=$destdir$prefix/bin
include=$destdir$prefix/include
libraries=$destdir$libdir
share=$destdir$prefix/share

# The commands of `infusion`, each of which has a page of its own.
commands() {
  "$build/infusion" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on && /^  [a-z]/ && $1 != "help" { print $1 }'
}

fill() {
  to_prefix=$(echo "$lib/cmake/Infusion" | sed 's![^/][^/]*!..!g')
  sed -e "s|@PREFIX@|$prefix|g" -e "s|@LIBDIR@|$libdir|g" -e "s|@LIB@|$lib|g" -e "s|@TO_PREFIX@|$to_prefix|g" \
    -e "s|@VERSION@|$version|g" -e "s|@SONAME@|$soname|g" "packaging/$1.in" > "$2/$1"
  chmod 644 "$2/$1"
}

install_all() {
  [ "$(uname)" = Linux ] || fail "only Linux is known here; elsewhere copy the library, the programs and bindings/c/ by hand"
  for file in libinfusion.so $programs; do
    [ -f "$build/$file" ] || fail "$build/$file is missing; run 'make build' first"
  done
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
  soname=$(objdump -p "$build/libinfusion.so" | awk '$1 == "SONAME" { print $2 }')
  [ -n "$soname" ] || fail "$build/libinfusion.so has no SONAME"

  install -d "$bin" "$include" "$libraries/pkgconfig" "$libraries/cmake/Infusion"
  for program in $programs; do install -m 755 "$build/$program" "$bin/$program"; done
  for header in $headers; do install -m 644 "bindings/c/$header" "$include/$header"; done
  install -m 755 "$build/libinfusion.so" "$libraries/libinfusion.so.$version"
  ln -sf "libinfusion.so.$version" "$libraries/$soname"
  ln -sf "$soname" "$libraries/libinfusion.so"
  fill infusion.pc "$libraries/pkgconfig"
  fill InfusionConfig.cmake "$libraries/cmake/Infusion"
  fill InfusionConfigVersion.cmake "$libraries/cmake/Infusion"
  install_help
}

install_help() {
  completions=$share/bash-completion/completions
  install -d "$share/man/man1" "$completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d"
  "$build/infusion" man > "$share/man/man1/infusion.1"
  for command in $(commands); do
    "$build/infusion" man "$command" > "$share/man/man1/infusion-$command.1"
  done
  "$build/infusion" completions bash > "$completions/infusion"
  "$build/infusion" completions zsh > "$share/zsh/site-functions/_infusion"
  "$build/infusion" completions fish > "$share/fish/vendor_completions.d/infusion.fish"
}

uninstall_all() {
  for program in $programs; do rm -f "$bin/$program"; done
  for header in $headers; do rm -f "$include/$header"; done
  rm -f "$libraries"/libinfusion.so "$libraries"/libinfusion.so.* "$libraries/pkgconfig/infusion.pc"
  rm -rf "$libraries/cmake/Infusion"
  rm -f "$share"/man/man1/infusion.1 "$share"/man/man1/infusion-*.1 "$share/bash-completion/completions/infusion" \
    "$share/zsh/site-functions/_infusion" "$share/fish/vendor_completions.d/infusion.fish"
}

case $action in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *) fail "what is '$action'? install or uninstall" ;;
esac
