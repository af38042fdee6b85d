#!/bin/bash
# fuzz.sh [NAME] [SECONDS]: runs the libFuzzer target NAME, or all, for SECONDS each (default 30) from
# the seeds in tests/fuzz/corpus/NAME. What it finds stays in build/fuzz/found.
set -u
cd "$(dirname "$0")/.."

targets=(build/fuzz/tests/fuzz_*) seconds=30 passed=0 failed=0
case ${1:-} in
"") ;;
*[!0-9]*) targets=("build/fuzz/tests/fuzz_$1") seconds=${2:-30} ;;
*) seconds=$1 ;;
esac

mkdir -p build/fuzz/found
for target in "${targets[@]}"; do
	[ -x "$target" ] || { echo "there is no $target"; continue; }
	name=${target##*/fuzz_}
	work=build/fuzz/corpus/$name log=build/fuzz/found/$name.log
	mkdir -p "$work"
	seeds=()
	[ ! -d "tests/fuzz/corpus/$name" ] || seeds=("tests/fuzz/corpus/$name")
	if "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="build/fuzz/found/$name-" "$work" "${seeds[@]}" >"$log" 2>&1; then
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
		echo "pass $name: $runs runs in $seconds s from ${#seeds[@]} seed folder(s)"
		passed=$((passed + 1))
	else
		tail -n 40 "$log"
		echo "FAIL $name: see build/fuzz/found"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
