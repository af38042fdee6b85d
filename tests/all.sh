#!/bin/bash
# all.sh [--full]: every test that a machine with Debian's packages can run (`./dev test`).
# A suite is a program whose last line of the form "N passed, N failed, N skipped" is its result; its
# build folder is in HONE_BUILD and the command in HONE. The last line here is the sum of them.
set -u -o pipefail
cd "$(dirname "$0")/.."

logs=build/test-logs
jobs=$(nproc)
passed=0 failed=0 skipped=0 failures=()
mkdir -p "$logs"

# suite NAME COMMAND...: runs it, adds up its result. Failing without a failed test counts as one.
suite() {
	local name=$1 log="$logs/${1//\//-}.log" status=0 line
	shift
	printf '\n== %s\n' "$name"
	"$@" 2>&1 | tee "$log" || status=$?
	line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
	set -- ${line:-0 passed, 0 failed, 0 skipped}
	passed=$((passed + $1)) failed=$((failed + $3)) skipped=$((skipped + $5))
	if [ "$3" = 0 ] && { [ $status != 0 ] || [ -z "$line" ]; }; then
		echo "$name: exit status $status, but no failed test in its result: \"$line\""
		failed=$((failed + 1))
		status=1
	fi
	[ $status = 0 ] || failures+=("$name ($log)")
}

# Suites of which only the folder decides whether they exist.
script() {
	local name=$1 program=$2
	[ ! -x "$program" ] || suite "$name" "$program"
}

# ctest's own summary, as a result line.
unit() {
	local out="$logs/ctest.txt" total bad
	ctest --test-dir "$HONE_BUILD" --output-on-failure --parallel "$jobs" >"$out" 2>&1
	total=$(grep -cE '^ *[0-9]+/[0-9]+ Test ' "$out")
	bad=$(grep -E '^ *[0-9]+/[0-9]+ Test ' "$out" | grep -vc ' Passed ')
	[ "$bad" = 0 ] && [ "$total" != 0 ] || cat "$out"
	echo "$((total - bad)) passed, $bad failed, 0 skipped"
	[ "$bad" = 0 ]
}

# use FOLDER [cmake arguments...]: configures and builds it; the following suites run on it.
use() {
	export HONE_BUILD=$PWD/$1 HONE=$PWD/$1/bin/hone
	local log="$logs/build-${1##*/}.log" folder=$1
	shift
	printf '\n== building %s\n' "$folder"
	if ! { cmake -B "$folder" "$@" && cmake --build "$folder" --parallel "$jobs"; } >"$log" 2>&1; then
		tail -n 40 "$log"
		failed=$((failed + 1))
		failures+=("building $folder ($log)")
		return 1
	fi
}

if use build/release --preset release; then
	suite unit unit
	for name in golden conformance cases symbolic exits quantize prune compress report differential abi isa cli install large gates; do
		script "$name" tests/$name/run
	done
	suite conformance/export tests/conformance/run --export
	for program in examples/*/test; do
		script "${program%/test}" "$program"
	done
	if [ "${1:-}" = --full ]; then
		suite expected examples/digits/expected.sh
		suite large/full tests/large/run --full
		suite compress/full tests/compress/run --full
		suite report/full tests/report/run --full
		suite isa/full tests/isa/run --full
	fi
fi

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}
for name in asan tsan; do
	if use build/$name --preset $name; then
		suite $name/unit unit
		script $name/golden tests/golden/run
		script $name/abi tests/abi/run
	fi
done

if use build/llvm19 --preset release -DHONE_LLVM=19; then
	suite llvm19/unit unit
	script llvm19/golden tests/golden/run
fi

if use build/fuzz --preset fuzz; then
	suite fuzz tests/fuzz.sh
fi

printf '\n'
[ ${#failures[@]} = 0 ] || printf 'failed: %s\n' "${failures[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
