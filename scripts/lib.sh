# shellcheck shell=bash
# What every script here shares. Source it first; it leaves the shell in the repository's root.
#
#   ROOT              the repository's root
#   CARGO_TARGET_DIR  where cargo builds (outside the clone, so that clones share their dependencies)
#   say, die          messages on stderr
#   need_*            make sure that something is there, install it if we may, or say what to do
#   step, skip        a named, timed part of a run; step_summary counts them

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"

# --- messages ---------------------------------------------------------------------------------

say() { printf '%s\n' "$@" >&2; }
die() {
    say "$(basename "$0"): $*"
    exit 1
}
# Wrong use of a script ends with 2, as it does for every command of TickerML.
die_usage() {
    say "$(basename "$0"): $* (see $0 --help)"
    exit 2
}
# Prints the comment at the head of the calling script, which is its manual.
print_manual() { sed -n '2,${/^#/!q;s/^# \{0,1\}//p}' "$0"; }

# --- where cargo builds -----------------------------------------------------------------------

choose_target_dir() {
    local wanted="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/tickerml/target}"
    if ! { mkdir -p "$wanted" && [ -w "$wanted" ]; } 2>/dev/null; then
        say "note: $wanted is not writable, building in $ROOT/target"
        wanted="$ROOT/target"
        mkdir -p "$wanted" || die "neither the cache folder nor $wanted is writable; set CARGO_TARGET_DIR to a folder that is"
    fi
    CARGO_TARGET_DIR="$(cd "$wanted" && pwd)"
    export CARGO_TARGET_DIR
}
choose_target_dir

export CARGO_BUILD_JOBS="${CARGO_BUILD_JOBS:-$(nproc 2>/dev/null || echo 2)}"

# --- what must be there -----------------------------------------------------------------------

# Prints the exact channel of rust-toolchain.toml.
rust_channel() { sed -n 's/^channel *= *"\(.*\)"$/\1/p' rust-toolchain.toml; }

# Makes sure that the pinned Rust with clippy and rustfmt is there. An installed channel is never touched.
need_toolchain() {
    local channel
    channel="$(rust_channel)"
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo" ]; then
        export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    if command -v rustup >/dev/null; then
        if ! rustup toolchain list | grep -q "^$channel-"; then
            say "installing Rust $channel with rustup"
            rustup toolchain install "$channel" --profile minimal --component clippy --component rustfmt >&2 ||
                die "Rust $channel could not be installed; check the network and run: rustup toolchain install $channel"
        fi
        local tool
        for tool in clippy rustfmt; do
            if ! rustup component list --toolchain "$channel" --installed | grep -q "^$tool"; then
                rustup component add --toolchain "$channel" "$tool" >&2 ||
                    die "$tool of Rust $channel could not be installed; run: rustup component add --toolchain $channel $tool"
            fi
        done
    elif command -v cargo >/dev/null; then
        local have
        have="$(rustc --version | cut -d' ' -f2)"
        [ "$have" = "$channel" ] ||
            die "this machine's Rust is $have and TickerML is pinned to $channel; install rustup (https://rustup.rs), which picks the right one by itself"
    else
        die "no Rust on this machine; install rustup (https://rustup.rs), open a new shell and run $0 again"
    fi
}

# need_target TRIPLE: the standard library for another target. Returns 1 with a reason when it cannot be had.
need_target() {
    local channel
    channel="$(rust_channel)"
    if ! command -v rustup >/dev/null; then
        [ -d "$(rustc --print sysroot)/lib/rustlib/$1" ] && return 0
        REASON="the standard library for $1 is not installed and there is no rustup to add it"
        return 1
    fi
    rustup target list --toolchain "$channel" --installed | grep -qx "$1" && return 0
    rustup target add --toolchain "$channel" "$1" >&2 && return 0
    REASON="the standard library for $1 could not be fetched; run: rustup target add --toolchain $channel $1"
    return 1
}

# Prints those of the named Debian packages that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s\n' "$package"
    done
}

# need_apt PACKAGE...: installs the missing ones if this machine has apt-get and we may use it.
# Returns 1 with a reason when they cannot be had.
need_apt() {
    local missing=() as_root=()
    if ! command -v apt-get >/dev/null; then
        REASON="this is not a Debian system; install with its own package manager what Debian calls: $*"
        return 1
    fi
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        # A password may be asked for only where somebody can type it.
        if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && [ -z "${CI:-}" ]; }; }; then
            as_root=(sudo)
        else
            REASON="packages are missing and we are not root; run: sudo apt-get install ${missing[*]}"
            return 1
        fi
    fi
    say "installing ${missing[*]}"
    local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}")
    # A bare machine has no package lists, or old ones: fetch them when the first attempt fails.
    "${install[@]}" >&2 </dev/null && return 0
    "${as_root[@]}" apt-get update -q >&2 </dev/null && "${install[@]}" >&2 </dev/null && return 0
    REASON="packages could not be installed; run: apt-get update && apt-get install ${missing[*]}"
    return 1
}

# need_command COMMAND PACKAGE...: a program, from these packages if it is not there.
need_command() {
    command -v "$1" >/dev/null && return 0
    need_apt "${@:2}"
}

# What every build needs: Rust, and a C compiler for ring and zstd and to link with.
need_build() {
    need_toolchain
    need_command cc gcc libc6-dev || die "no C compiler: $REASON"
}

# need_python_venv NAME PACKAGE==VERSION...: a Python of that name with exactly these packages and none that
# they ask for, as $PYTHON. Returns 1 with a reason when it cannot be had.
need_python_venv() {
    local folder="${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/tickerml/python/$1" wanted
    shift
    need_command python3 python3 || return 1
    wanted="$(python3 --version) $*"
    PYTHON="$folder/bin/python"
    if "$PYTHON" -c '' 2>/dev/null && [ "$(cat "$folder/packages" 2>/dev/null)" = "$wanted" ]; then return 0; fi
    # Debian ships Python without what makes such an environment.
    python3 -c 'import ensurepip, venv' 2>/dev/null || need_apt python3-venv || return 1
    say "installing $* in $folder"
    rm -rf "$folder"
    mkdir -p "$(dirname "$folder")"
    if ! python3 -m venv "$folder" >&2; then
        REASON="python3 cannot make a virtual environment in $folder; install python3-venv, or set XDG_CACHE_HOME to a folder that is writable"
        return 1
    fi
    if ! "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: "$@" >&2; then
        REASON="pip cannot install $* for $(python3 --version); check the network, and that the package has a wheel for it"
        return 1
    fi
    printf '%s\n' "$wanted" >"$folder/packages"
}

# --- steps ------------------------------------------------------------------------------------

readonly SKIPPED=77
STEPS_PASSED=()
STEPS_FAILED=()
STEPS_SKIPPED=()

# elapsed SINCE: seconds since a value of $SECONDS, as 7s or 3m07s.
elapsed() {
    local seconds=$((SECONDS - $1))
    if [ "$seconds" -lt 60 ]; then printf '%ds' "$seconds"; else printf '%dm%02ds' $((seconds / 60)) $((seconds % 60)); fi
}

# step NAME COMMAND...: runs it in a subshell that stops at its first error, and counts the outcome.
# Never call it as part of a condition: bash would then ignore errors inside.
step() {
    local name="$1" began="$SECONDS" code
    shift
    say ""
    say "==> $name"
    set +e
    (
        set -e
        "$@"
    )
    code=$?
    set -e
    case "$code" in
    0) STEPS_PASSED+=("$name") && say "    ok   $name ($(elapsed "$began"))" ;;
    "$SKIPPED") STEPS_SKIPPED+=("$name") ;;
    *) STEPS_FAILED+=("$name") && say "    FAIL $name (exit code $code, $(elapsed "$began"))" ;;
    esac
}

# skip NAME REASON...: ends the step that calls it, loudly, because it is impossible on this machine.
skip() {
    say "    SKIP $1: ${*:2}"
    exit "$SKIPPED"
}

# Says which steps failed and were skipped, then the counts on stdout. Returns 1 if any step failed.
step_summary() {
    say ""
    local name
    for name in "${STEPS_SKIPPED[@]}"; do say "SKIPPED $name"; done
    for name in "${STEPS_FAILED[@]}"; do say "FAILED  $name"; done
    say "total time $(elapsed 0)"
    printf '%d passed, %d failed, %d skipped\n' "${#STEPS_PASSED[@]}" "${#STEPS_FAILED[@]}" "${#STEPS_SKIPPED[@]}"
    [ "${#STEPS_FAILED[@]}" -eq 0 ]
}
