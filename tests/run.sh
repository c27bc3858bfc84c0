#!/usr/bin/env bash
# Installs what is missing, builds the tests and runs them.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/run.sh [--sanitize] [--long] [FILTER | CTEST-OPTION...]

  --sanitize  under AddressSanitizer and UndefinedBehaviorSanitizer, without those of the programs
  --long      the long tests too
  FILTER      only the tests whose name (which starts with the folder) matches this regular expression
  Anything from the first option on that is not one of these goes to ctest, e.g. -R equations -V.
TEXT
}

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd -P)
. "$root/cmake/setup.sh"

# -O1 compiles in half the time of -O3, and without -DNDEBUG Eigen checks sizes and indices. Batches save a
# twentieth of that at this size, up to half at twice the size, where some take 2 GB of memory.
variant=tests
options=(-DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DMETALQR_TEST_BATCH=14000)
selection=()
length=(-LE '^long$')
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize) variant=sanitize options+=(-DMETALQR_SANITIZE=ON -DMETALQR_TEST_BATCH=30000) ;;
    --long) length=() ;;
    -h | --help) usage && exit ;;
    -*) break ;;
    *) selection+=(-R "$1") ;;
  esac
  shift
done

# The programs are built only where a test runs them; sanitizers do not look into them.
programs=OFF
for source in "$root"/tests/examples/*.cpp; do
  if [ -e "$source" ] && [ $variant != sanitize ]; then programs=ON; fi
done
options+=(-DMETALQR_BUILD_TESTS=ON -DMETALQR_BUILD_BENCHMARKS=OFF -DMETALQR_BUILD_EXAMPLES=$programs)

install_packages tests
build_dir=$build_root/$variant
lock_build "$build_dir"
configure "$build_dir" "${options[@]}"
build "$build_dir"
unlock_build

cd "$build_dir"
# Idle threads that spin slow down the tests that run beside them.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$root/cmake/leaks.txt:print_suppressions=0}
# So do the threads of a BLAS on matrices this small.
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}
exec ctest --parallel "$(jobs)" --output-on-failure --no-tests=error --no-label-summary "${length[@]}" "${selection[@]}" "$@" </dev/null
