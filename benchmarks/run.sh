#!/usr/bin/env bash
# Installs what is missing, builds the benchmarks and runs them against their peers: benchmarks/run.sh [--out DIR]
# One table of ratios goes to stdout; table, picture and numbers go to DIR (default: build/benchmarks/out).
# With other arguments, they are passed to the Google Benchmark program, and only that writes to stdout:
# benchmarks/run.sh --benchmark_format=json --benchmark_filter=^cost
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd -P)
. "$root/cmake/setup.sh"

out=$build_root/benchmarks/out
alone=true
case ${1:-} in
  '') alone=false ;;
  --out)
    if [ $# -ne 2 ]; then
      say "usage: benchmarks/run.sh [--out DIR] | [ARGUMENTS OF THE BENCHMARK PROGRAM...]"
      exit 2
    fi
    out=$2
    alone=false
    ;;
esac

build_program benchmarks benchmarks "benchmarks tests/meta" \
  -DMETALQR_BUILD_BENCHMARKS=ON -DMETALQR_BUILD_TESTS=OFF -DMETALQR_BUILD_EXAMPLES=OFF

export OPENBLAS_NUM_THREADS=1 # the peers have one thread as well
if $alone; then exec "$program" "$@"; fi

# The distribution's python3 has the distribution's numpy and scipy.
python=python3
for candidate in /usr/bin/python3 python3; do
  if "$candidate" -c 'import numpy, scipy' >/dev/null 2>&1; then
    python=$candidate
    break
  fi
done

# The last core that this process may use, and the last two.
pinned=() paired=() core=any
if command -v taskset >/dev/null 2>&1; then
  cores=$(taskset -cp $$ | sed 's/.*: *//' | tr ',' '\n' | awk -F- '{ for (i = $1; i <= (NF > 1 ? $2 : $1); ++i) print i }')
  core=$(printf '%s\n' "$cores" | tail -n 1)
  pinned=(taskset -c "$core")
  paired=(taskset -c "$(printf '%s\n' "$cores" | tail -n 2 | paste -sd, -)")
fi

# measure NAME REPETITIONS FILTER COMMAND...: one run with the repetitions of all rows interleaved.
measure() {
  local name=$1 repetitions=$2 filter=$3
  shift 3
  say "Measuring: $name"
  "$@" "$program" --benchmark_filter="$filter" --benchmark_repetitions="$repetitions" --benchmark_min_time=0.1 \
    --benchmark_enable_random_interleaving=true --benchmark_display_aggregates_only=true \
    --benchmark_out="$out/$name.json" --benchmark_out_format=json >&2
}

mkdir -p "$out"
out=$(cd -- "$out" && pwd -P)
measure one_core 5 '-^maml/(tasks|samples)' "${pinned[@]}"
say "Measuring: python"
"${pinned[@]}" "$python" "$root/benchmarks/peers/scipy_baseline.py" >"$out/python.json"
"${pinned[@]}" "$python" "$root/benchmarks/peers/bootstrap_numpy.py" >"$out/bootstrap_python.json"
measure tasks 3 '^maml/(tasks|samples)/[0-9]+$' "${pinned[@]}"
measure two_cores 5 '^maml/tasks/10000?(/threads:2)?$' "${paired[@]}"
"$python" "$root/benchmarks/report.py" --core "$core" "$out"
