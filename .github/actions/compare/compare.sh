#!/usr/bin/env bash
# What the action does, by the names of its inputs in capitals; run it by hand from the top of a checkout:
#   SCENARIO=scenarios/baseline.toml BASE=main bash .github/actions/compare/compare.sh
# Exit: 0 nothing is worse, 1 something is, 2 it could not be done.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
read -ra scenarios <<<"${SCENARIO:-scenarios/baseline.toml scenarios/partition.toml scenarios/primary-crash.toml scenarios/wan.toml}"
seeds=${SEEDS:-1..10}
out=${OUT:-compare-results}
fail() {
    echo "error: $*" >&2
    exit 2
}
if [ -n "${BASE:-}" ] && [ -n "${BASELINE:-}" ]; then
    fail "base and baseline are both given: a revision to build, or a directory of its results"
fi
[ -n "${BASE:-}${BASELINE:-}" ] || fail "neither base nor baseline is given: compare with what?"
settings=()
set=${SET-crypto=token}
[ -z "$set" ] || settings=(--set "$set")

# The revision under test: this checkout, or for a repository that holds only scenarios, the one that the action is of.
source=$PWD
[ -f "$source/sim/Cargo.toml" ] || source=$(cd "$here/../../.." && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
target=${CARGO_TARGET_DIR:-$source/target}
build() { # directory of the sources, where the binary goes
    cargo build --locked --release -p marlos-sim --manifest-path "$1/Cargo.toml" --target-dir "$target" ||
        fail "$1 does not build"
    cp "$target/release/marlos-sim" "$2"
}
# A run that does not pass is judged by the comparison: only what cannot be run at all is an error.
sweep() { # binary, name
    local code=0
    "$1" sweep "${scenarios[@]}" "${settings[@]}" --seeds "$seeds" --out "$out/$2" >"$out/$2.txt" || code=$?
    [ "$code" -ne 2 ]
}

build "$source" "$out/marlos-sim-new"
sweep "$out/marlos-sim-new" new || fail "the scenarios cannot be run"
if [ -n "${BASE:-}" ]; then
    worktree=$(mktemp -d)
    trap 'git -C "$source" worktree remove --force "$worktree/base" 2>/dev/null || true; rm -rf "$worktree"' EXIT
    git -C "$source" worktree add --quiet --detach "$worktree/base" "$BASE" || fail "there is no revision $BASE here"
    build "$worktree/base" "$out/marlos-sim-base"
    # Both run the scenarios of this checkout, so that the builds are what differs. An older one may not know every key of them.
    sweep "$out/marlos-sim-base" base || {
        echo "$BASE cannot run these scenarios: it runs its own of these names" >&2
        (cd "$worktree/base" && sweep "$out/marlos-sim-base" base) || fail "$BASE cannot run its scenarios either"
    }
    BASELINE=$out/base
fi

tolerances=()
[ -z "${TOLERANCE:-}" ] || tolerances=(--tolerance "$TOLERANCE")
code=0
"$out/marlos-sim-new" compare "$BASELINE" "$out/new" "${tolerances[@]}" \
    --markdown "$out/comment.md" --junit "$out/junit.xml" || code=$?
[ "$code" -ne 2 ] || exit 2
[ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$out/comment.md" >>"$GITHUB_STEP_SUMMARY"
if [ -n "${GITHUB_OUTPUT:-}" ]; then
    {
        echo "regressed=$([ "$code" -eq 0 ] && echo false || echo true)"
        echo "markdown=$out/comment.md"
        echo "junit=$out/junit.xml"
    } >>"$GITHUB_OUTPUT"
fi
exit "$code"
