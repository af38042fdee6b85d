"""What test scripts in Python share: the command, facts that hold or not, the line of results that tests/all.sh adds up."""
import os
import sys

top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
command = os.environ.get("HONE", os.path.join(top, "build", "release", "bin", "hone"))
sys.path.insert(0, os.path.join(top, "python"))
_results, _skipped = [], []


def check(what, ok):
    _results.append(bool(ok))
    if not ok:
        print("failed:", what)


def skip(why):
    _skipped.append(why)
    print("skipped:", why)


def finish():
    """Prints the results; the exit status is whether all facts hold."""
    passed = sum(_results)
    print(f"{passed} passed, {len(_results) - passed} failed, {len(_skipped)} skipped")
    sys.exit(passed != len(_results))
