# SPDX-License-Identifier: Apache-2.0
"""Times what others have for the cases of the GPU benchmark (shapes.json), with PyTorch of that machine.

Law: the same shapes and numbers of the same kind, the same law of timing as baton_gpu_bench (many calls between two
events, as one graph where that can be made, each on another copy of what it reads, median of the samples), and what a
peer has to do beside its kernel is a case of its own: "flex + mask" builds the block mask, "sdpa + gather" gathers what
a stage reads. What is missing here, or does not run, is a line that says so.

  peers.py [--out FILE] [--device cuda|cpu] [--samples N] [--budget SECONDS] [--tiny] [--list] [FILTER]

Appends a line of JSON after each case. --tiny: every path with few rows, its times mean nothing.
"""

import argparse
import json
import os
import sys

from peer.attention import backward_peers, check_view, flex_peers, sdpa_peers
from peer.models import handover_peers, train_peer
from peer.timing import Bench

HERE = os.path.dirname(os.path.abspath(__file__))


def copy_peer(bench, shapes):
    size = shapes["copyBytes"]

    def measure():
        source = bench.random(size // 2)
        target = bench.torch.empty_like(source)
        return bench.time(lambda _: target.copy_(source)), 2 * source.nbytes, 0

    bench.attempt("copy", "torch", measure)


def product_peer(bench, case, rows, columns, depth):
    def measure():
        copies = bench.copies_of(2 * columns * depth)
        weights = [bench.random(columns, depth) for _ in range(copies)]
        x = bench.random(rows, depth)
        times = bench.time(lambda i: bench.torch.nn.functional.linear(x, weights[i]), copies)
        return times, 2 * (columns * depth + rows * depth + rows * columns), 2 * rows * columns * depth

    bench.attempt(case, "torch", measure)


def tiny_shapes(shapes):
    """As tinyShapes of kernels/shapes.cpp, and models of two layers."""
    shapes.update(copyBytes=10_000, gemm=64)
    shapes["linear"].update(columns=48, depth=256, rows=[1, 8, 20])
    for view in [*shapes["attention"], *shapes["backward"]]:
        caps = {"trunk": 40, "stages": 2, "prompt": 21, "own": 19}
        view.update(heads=4, kvHeads=2, **{key: min(view[key], most) for key, most in caps.items()})
    for model in shapes["models"].values():
        model.update(layers=2, hidden=64, ffn=96, heads=4, kvHeads=2, headDim=16, vocab=300)
    shapes["handover"].update(shared=40, opener=3)
    shapes["train"].update(batch=2, virtual=4, input=12, output=5)
    return shapes


def peers_of(bench, shapes):
    """(name, call) in order of worth."""
    linear = shapes["linear"]
    yield "copy", lambda: copy_peer(bench, shapes)
    size = shapes["gemm"]
    yield "gemm bf16", lambda: product_peer(bench, "gemm bf16", size, size, size)
    for rows in linear["rows"]:
        case = f"linear BF16 x{rows}"
        yield case, lambda rows=rows, case=case: product_peer(bench, case, rows, linear["columns"], linear["depth"])
    views = [shape for shape in shapes["attention"] if shape["kv"] == "bf16"]
    chains = [shape for shape in views if shape["stages"] > 1 and shape["own"] > 1]
    handover, train = shapes["handover"]["model"], shapes["train"]["model"]
    yield f"handover 8k {handover}", lambda: handover_peers(bench, shapes)
    yield f"train step {train}", lambda: train_peer(bench, shapes)
    for shape in chains:
        yield shape["name"], lambda shape=shape: flex_peers(bench, shape)
    for shape in shapes["backward"]:
        yield shape["name"], lambda shape=shape: backward_peers(bench, shape)
    for shape in views:
        yield shape["name"], lambda shape=shape: sdpa_peers(bench, shape)
    for shape in views:
        if shape not in chains:
            yield shape["name"], lambda shape=shape: flex_peers(bench, shape)


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--shapes", default=os.path.join(HERE, "shapes.json"))
    parser.add_argument("--out")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--budget", type=float, default=0, help="seconds after which no case begins; 0: none")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args(arguments)


def main(arguments):
    options = options_of(arguments)
    shapes = json.load(open(options.shapes, encoding="utf-8"))
    if options.tiny:
        shapes = tiny_shapes(shapes)
    if options.list:
        print("\n".join(dict.fromkeys(name for name, _ in peers_of(None, shapes))))
        return 0
    try:
        import torch
    except ImportError as error:
        print(f"no PyTorch: {error}", file=sys.stderr)
        return 3
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: PyTorch sees none", file=sys.stderr)
        return 3
    bench = Bench(options)
    bench.sink({"suite": "peers", "torch": torch.__version__, "cuda": torch.version.cuda})
    for shape in shapes["attention"] if options.tiny else []:
        if options.filter in shape["name"]:
            check_view(bench, shape)
    for name, call in peers_of(bench, shapes):
        if options.filter not in name:
            continue
        try:
            call()
        except Exception as error:  # of what a peer wants before its first case
            bench.sink({"subject": "?", "case": name, "failed": f"{type(error).__name__}: {error}"[:300]})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
