# Sourced (bash) by examples/run.sh, tests/run.sh, benchmarks/run.sh and .ci/run, which set `root` to the repository.
# Nothing here writes to stdout.

build_root=${METALQR_BUILD_ROOT:-$root/build}

say() { printf '%s\n' "$*" >&2; }

# packages_of GROUP: the Debian packages of a group of packages.txt, the groups it names included.
packages_of() {
  local group words word
  while IFS=: read -r group words; do
    [ "$group" = "$1" ] || continue
    for word in $words; do
      case $word in
        @*) packages_of "${word#@}" ;;
        *) printf '%s\n' "$word" ;;
      esac
    done
  done <"$root/cmake/packages.txt"
}

# missing_packages PACKAGE...: those of the packages that are not installed.
missing_packages() {
  local installed package
  # dpkg-query fails if it knows nothing of one of them; its answers on the others stand.
  installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "$@" 2>/dev/null || true)"
  for package in "$@"; do
    case $installed in
      *" installed:$package "*) ;;
      *) printf '%s\n' "$package" ;;
    esac
  done
}

# install_packages GROUP: installs what is missing, or says what to install and fails.
install_packages() {
  local packages missing command as_root=
  # shellcheck disable=SC2046 # one word a package
  set -- $(packages_of "$1")
  packages=$*

  if ! command -v dpkg-query >/dev/null 2>&1; then
    missing=
    command -v cmake >/dev/null 2>&1 || missing="$missing cmake"
    command -v "${CXX:-c++}" >/dev/null 2>&1 || missing="$missing ${CXX:-c++}"
    command -v make >/dev/null 2>&1 || [ -n "${CMAKE_GENERATOR:-}" ] || missing="$missing make"
    [ -z "$missing" ] && return 0 # CMake names any library that it does not find
    say "Not found:$missing."
    say "This is not a Debian system; please install the equivalents of these Debian packages:"
    say "  $packages"
    return 1
  fi

  missing=$(missing_packages "$@" | tr '\n' ' ')
  missing=${missing% }
  [ -z "$missing" ] && return 0
  command="apt-get install -y --no-install-recommends $missing"

  if ! command -v apt-get >/dev/null 2>&1; then
    say "Packages are missing and there is no apt-get here. Please install: $missing"
    return 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1; then
      as_root="sudo -n"
    else
      say "Packages are missing. As root, please run:"
      say "  apt-get update && $command"
      return 1
    fi
  fi

  say "Installing: $missing"
  # A source that cannot be reached fails the update while the others serve; the installation decides.
  # shellcheck disable=SC2086 # words on purpose
  if ! {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 update ||
      say "apt-get update failed, at least in part; trying to install all the same."
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 ${command#apt-get }
  } </dev/null >&2; then
    say "apt-get could not install the packages (its messages are above). By hand, as root:"
    say "  apt-get update && $command"
    return 1
  fi
  missing=$(missing_packages "$@" | tr '\n' ' ')
  [ -z "$missing" ] && return 0
  say "apt-get succeeded, but these packages are still missing: $missing"
  return 1
}

# jobs: how many compilers run at once: one a core, but the largest need 1.5 GB.
jobs() {
  local cores memory limit
  if [ -n "${CMAKE_BUILD_PARALLEL_LEVEL:-}" ]; then
    printf '%s\n' "$CMAKE_BUILD_PARALLEL_LEVEL"
    return
  fi
  cores=$(nproc 2>/dev/null || echo 1)
  memory=$(awk '/^MemAvailable:/ { print int($2 / 1572864) }' /proc/meminfo 2>/dev/null || true)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || true)
  case $limit in
    '' | *[!0-9]*) ;;
    *) [ $((limit / 1610612736)) -lt "${memory:-1000000}" ] && memory=$((limit / 1610612736)) ;;
  esac
  if [ -n "$memory" ] && [ "$memory" -lt "$cores" ]; then cores=$memory; fi
  [ "$cores" -ge 1 ] || cores=1
  printf '%s\n' "$cores"
}

# lock_build DIR: makes the build directory and waits until nobody else builds in it (until `unlock_build`).
lock_build() {
  mkdir -p "$1"
  exec 9>"$1/.lock"
  if command -v flock >/dev/null 2>&1; then
    flock -n 9 || { say "Waiting for another build in $1"; flock 9; }
  fi
}

unlock_build() { exec 9>&-; }

# configure DIR ARGS...: runs CMake, from scratch if the directory was made for a tree somewhere else.
configure() {
  local dir=$1
  shift
  if [ -f "$dir/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$dir/CMakeCache.txt"; then
    rm -rf "$dir/CMakeCache.txt" "$dir/CMakeFiles"
  fi
  cmake -S "$root" -B "$dir" "$@" </dev/null >&2
}

build() { cmake --build "$1" --parallel "$(jobs)" "${@:2}" </dev/null >&2; }

# build_program FOLDER NAME SOURCES OPTION...: sets `program` to the program NAME of a folder, which is installed
# for and built with these options unless it is newer than all that it is made of. SOURCES: folders besides the
# headers.
build_program() {
  local folder=$1 name=$2 sources=$3 dir=$build_root/$1 stamp=$build_root/$1/$2.built
  shift 3
  program=$dir/$folder/$name
  if is_up_to_date "$stamp" "$sources"; then return; fi
  install_packages "$folder"
  lock_build "$dir"
  if ! is_up_to_date "$stamp" "$sources"; then
    say "Building $name"
    touch "$stamp.begun"
    configure "$dir" "$@"
    build "$dir" --target "$name"
    mv "$stamp.begun" "$stamp"
  fi
  unlock_build
}

# The stamp carries the time at which the last successful build of the program began.
is_up_to_date() {
  local stamp=$1 source paths=("$root"/{CMakeLists.txt,cmake,include})
  for source in $2; do paths+=("$root/$source"); done
  [ -x "$program" ] && [ -f "$stamp" ] && [ -z "$(find "${paths[@]}" -newer "$stamp" -print -quit)" ]
}
