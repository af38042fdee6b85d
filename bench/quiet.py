"""quiet.py: measuring while nothing else uses the machine, as far as one's patience lasts.

Two things are watched. The CPU time that other processes take is in /proc/stat, less our own. What other guests of the host
take is nowhere; but a core whose other half they use, or that they slow down, does fewer multiply-adds: a millisecond of
these before and after (pace.c) tells.
"""
import ctypes
import os
import time

from engines import OUT

QUIET = 0.15  # of one core; /proc/stat counts in ticks of 10 ms, so a slice of 0.2 s is good to some percent
PIECE = 0.02  # seconds between two looks at the pace


class Load:
    """CPU time that other processes took since it was made, as a fraction of one core."""

    def __init__(self):
        self.start, self.before = time.perf_counter(), self.others()

    @staticmethod
    def others():
        with open("/proc/stat") as f:
            user, nice, system, _, _, irq, soft, steal = (int(n) for n in f.readline().split()[1:9])
        busy = (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
        return busy - sum(os.times()[:4])  # ours and our finished children's

    def share(self):
        return max(0.0, (self.others() - self.before) / (time.perf_counter() - self.start))


class Pace:
    """How much slower the slowest of some cores is now than the fastest that was ever seen, as a fraction."""

    def __init__(self):
        library = ctypes.CDLL(f"{OUT}/pace.so")
        self.rate, self.best = library.pace, 0.0
        self.rate.restype, self.rate.argtypes = ctypes.c_double, [ctypes.c_int]
        self.loss(1)

    def loss(self, threads):
        rate = self.rate(threads)
        self.best = max(self.best, rate)
        return 1 - rate / self.best


class Patience:
    """Repeats what was disturbed until its seconds are used up; after that it is kept."""

    def __init__(self, seconds):
        self.left, self.pace = seconds, Pace()

    def quietly(self, work, threads=1):
        """Returns (work(), share of a core that was lost)."""
        while True:
            before, load, start = self.pace.loss(threads), Load(), time.perf_counter()
            result = work()
            share = max(load.share(), before, self.pace.loss(threads))
            if share <= QUIET or self.left <= 0:
                return result, share
            time.sleep(0.1)
            self.left -= time.perf_counter() - start

    def latencies(self, run, seconds, threads=1):
        """Latencies of run() for so many seconds, in pieces, without the disturbed ones: the host's pace changes by the moment."""
        taken, end = [], time.perf_counter() + seconds
        time.sleep(0.03)  # lets the last engine's threads stop spinning
        run()
        before = self.pace.loss(threads)
        while not taken or time.perf_counter() < end:
            start, piece = time.perf_counter(), []
            while (now := time.perf_counter()) < start + PIECE:
                run()
                piece.append(time.perf_counter() - now)
            after = self.pace.loss(threads)
            lost, before = max(before, after), after
            if lost <= QUIET or self.left <= 0:
                taken += piece
            else:
                passed = time.perf_counter() - start
                end, self.left = end + passed, self.left - passed
        return taken
