#!/usr/bin/env bash
# Builds the fuzzing targets with clang and runs them.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/fuzz/run.sh [SECONDS] [TARGET...]

  SECONDS  how long each target runs, 20 unless told
  TARGET   task, server, checkpoint; all unless told

As many targets run at a time as there are cores. What is written goes to the build folder, findings to
fuzz/findings/TARGET in it; a finding, or a leak, is a failure.
Ends with 77 if clang or its libFuzzer is not installed.
TEXT
}

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." >/dev/null && pwd -P)
. "$root/cmake/setup.sh"

seconds=20
targets=()
for argument in "$@"; do
  case $argument in
    -h | --help) usage && exit ;;
    *[!0-9]*) targets+=("$argument") ;;
    *) seconds=$argument ;;
  esac
done
[ ${#targets[@]} -gt 0 ] || targets=(task server checkpoint)
for target in "${targets[@]}"; do
  if [ ! -d "$root/tests/fuzz/corpus/$target" ]; then
    say "There is no target '$target'."
    usage >&2
    exit 2
  fi
done

compiler=${FUZZ_CXX:-clang++}
work=$build_root/fuzz

# build_target NAME: unless it is newer than all that it is made of.
build_target() {
  local program=$work/$1 flags=()
  if [ -x "$program" ] &&
    [ -z "$(find "$root/include" "$root/tests/fuzz" -newer "$program" ! -path '*/corpus/*' -type f -print -quit)" ]; then
    return
  fi
  # What the libraries' own code does differently is no discovery.
  if [ "$1" = server ]; then flags=(-fsanitize-coverage-ignorelist="$root/tests/fuzz/libraries.txt"); fi
  # shellcheck disable=SC2046 # one word a folder
  "$compiler" -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all "${flags[@]}" \
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I "$root/include" \
    $(pkg-config --cflags-only-I eigen3 | sed 's/-I/-isystem/g') "$root/tests/fuzz/$1.cpp" -o "$program.new"
  mv "$program.new" "$program"
}

# run_target NAME: on a copy of the corpus, which grows.
run_target() {
  local target=$1 corpus=$work/corpus/$1 findings=$work/findings/$1 log=$work/$1.log options=() status=0
  rm -rf "$corpus" "$findings"
  mkdir -p "$corpus" "$findings"
  cp "$root/tests/fuzz/corpus/$target/"* "$corpus/"
  if [ "$target" = server ]; then
    options=(-max_len=1024 -len_control=0)
  else
    options=(-max_len=4096 -len_control=20 -dict="$root/tests/fuzz/json.dict")
  fi
  "$work/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -detect_leaks=1 \
    -print_final_stats=1 -artifact_prefix="$findings/" "${options[@]}" "$corpus" >"$log" 2>&1 || status=$?
  if [ $status -ne 0 ]; then
    tail -n 60 "$log"
    echo "$target: failed; reproduce with: $work/$target $(printf '%s ' "$findings"/*)"
    return 1
  fi
  awk -v target="$target" '/DONE/ { done = $0 } /average_exec_per_sec/ { rate = $2 } /number_of_executed/ { runs = $2 }
    END { sub(/.*cov:/, "cov:", done); sub(/ lim:.*/, "", done)
          print target ": " runs " runs, " rate " a second, " done }' "$log"
}

# The inner calls: one target, which nobody else builds or runs at the same time.
if [ -n "${FUZZ_STEP:-}" ]; then
  lock_build "$work/locks/${targets[0]}"
  "${FUZZ_STEP}_target" "${targets[0]}"
  exit
fi

mkdir -p "$work"
if ! echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
  "$compiler" -fsanitize=fuzzer,address,undefined -x c++ - -o "$work/probe.$$" 2>"$work/probe.log"; then
  say "Fuzzing is skipped: $compiler cannot build for libFuzzer (Debian: clang libclang-rt-dev; messages in $work/probe.log)"
  exit 77
fi
rm "$work/probe.$$"

export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$root/cmake/leaks.txt:print_suppressions=0}
for step in build run; do
  printf '%s\n' "${targets[@]}" | FUZZ_STEP=$step xargs -n 1 -P "$(jobs)" "${BASH_SOURCE[0]}" "$seconds"
done
