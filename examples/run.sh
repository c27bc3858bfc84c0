#!/usr/bin/env bash
# Installs what is missing, builds one example and runs it: examples/run.sh [NAME ARGUMENTS...]
# The default is quickstart, also where the first argument is an option. Only the program itself writes to stdout,
# and its exit status is the script's. METALQR_LAUNCH is what starts the program, e.g. 'mpirun -np 4'.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd -P)
. "$root/cmake/setup.sh"

case ${1:-} in
  '' | -*) name=quickstart ;;
  *)
    name=$1
    shift
    ;;
esac
case $name in
  */* | .*) known=false ;;
  *) if [ -f "$root/examples/$name.cpp" ]; then known=true; else known=false; fi ;;
esac
if [ $known = false ]; then
  say "usage: examples/run.sh [NAME ARGUMENTS...]"
  say "There is no example '$name'. The examples are:"
  for source in "$root"/examples/*.cpp; do
    if [ -f "$source" ]; then say "  $(basename "$source" .cpp)"; fi
  done
  exit 2
fi

build_program examples "$name" examples \
  -DMETALQR_BUILD_EXAMPLES=ON -DMETALQR_BUILD_TESTS=OFF -DMETALQR_BUILD_BENCHMARKS=OFF
# shellcheck disable=SC2086 # words on purpose
exec ${METALQR_LAUNCH:-} "$program" "$@"
