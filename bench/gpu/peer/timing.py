# SPDX-License-Identifier: Apache-2.0
"""How a peer is timed: baton_gpu_bench's law (bench/gpu/kernels/bench.h), with PyTorch."""

import gc
import json
import math
import time

SAMPLE_SECONDS = 1e-3
ROTATE_BYTES = 256 << 20
MOST_COPIES = 64
MOST_CALLS = 500


class Skip(Exception):
    """Why a case cannot be measured here."""


class Bench:
    def __init__(self, options):
        import torch

        self.torch = torch
        self.options = options
        self.device = options.device
        self.began = time.monotonic()

    def sink(self, line):
        text = json.dumps({"suite": "kernels", **line, **({"tiny": True} if self.options.tiny else {})})
        if self.options.out is None:
            print(text, flush=True)
            return
        with open(self.options.out, "a", encoding="utf-8") as out:
            out.write(text + "\n")

    def copies_of(self, size):
        if self.options.tiny:
            return 2
        return max(1, min(MOST_COPIES, math.ceil(ROTATE_BYTES / max(size, 1))))

    def random(self, *shape):
        return self.torch.randn(*shape, device=self.device, dtype=self.torch.bfloat16)

    def wait(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def once(self, call, calls):
        """Seconds of calls 0 .. calls - 1 one after another."""
        if self.device != "cuda":
            begin = time.perf_counter()
            for i in range(calls):
                call(i)
            return time.perf_counter() - begin
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for i in range(calls):
            call(i)
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    def graph_of(self, call, calls):
        """All calls as one graph, or None where CUDA refuses it."""
        torch = self.torch
        try:
            side = torch.cuda.Stream()
            with torch.cuda.stream(side):
                call(0)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for i in range(calls):
                    call(i)
            graph.replay()
            torch.cuda.synchronize()
            return graph
        except Exception:
            torch.cuda.synchronize()
            return None

    def time(self, call, copies=1, graph=True, most_calls=MOST_CALLS):
        """{"us", "min", "max", ...} of one call(i); i counts copies round and round."""

        def turn(i):
            call(i % copies)

        self.once(turn, copies)  # compiles and warms up
        self.wait()
        each = self.once(turn, copies) / copies
        calls = max(copies, min(most_calls, math.ceil(SAMPLE_SECONDS / max(each, 1e-9))))
        made = self.graph_of(turn, calls) if graph and self.device == "cuda" else None
        seconds = []
        for _ in range(self.options.samples):
            total = self.once(lambda _: made.replay(), 1) if made else self.once(turn, calls)
            seconds.append(total / calls)
        seconds.sort()
        return {
            "us": seconds[len(seconds) // 2] * 1e6,
            "min": seconds[0] * 1e6,
            "max": seconds[-1] * 1e6,
            "samples": len(seconds),
            "calls": calls,
            "copies": copies,
            "timing": "graph" if made else "launches" if self.device == "cuda" else "host",
        }

    def report(self, case, subject, times, size=0, flops=0):
        self.sink({"subject": subject, "case": case, **times, "bytes": size, "flops": flops})

    def attempt(self, case, subject, measure):
        """measure() -> (times, bytes, flops); what is in its way becomes a line."""
        if self.options.budget and time.monotonic() - self.began > self.options.budget:
            self.sink({"subject": subject, "case": case, "failed": "the time for peers was over"})
            return
        try:
            self.report(case, subject, *measure())
        except Skip as why:
            self.sink({"subject": subject, "case": case, "failed": str(why)})
        except Exception as error:  # whatever a library throws is that case's end only
            text = f"{type(error).__name__}: {error}".split("\n")[0][:300]
            self.sink({"subject": subject, "case": case, "failed": text})
        gc.collect()
        if self.device == "cuda":
            self.torch.cuda.empty_cache()
