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
import gc
import json
import math
import os
import sys
import time

SAMPLE_SECONDS = 1e-3
ROTATE_BYTES = 256 << 20
MOST_COPIES = 64
MOST_CALLS = 500
HERE = os.path.dirname(os.path.abspath(__file__))


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


# ---- ceilings and products


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


# ---- attention


class View:
    """A shape of "attention": stages that read the trunk, a prompt of their own and themselves causally."""

    def __init__(self, bench, shape, queries="own"):
        torch, self.shape, self.bench = bench.torch, shape, bench
        trunk, stages = shape["trunk"], shape["stages"]
        self.stages, self.trunk, self.prompt, self.own = stages, trunk, shape["prompt"], shape["own"]
        self.heads, self.kv_heads, self.dim = shape["heads"], shape["kvHeads"], shape["dim"]
        each = self.prompt + self.own
        self.keys = trunk + stages * each
        # Of each key: 0 for the trunk, else which stage's; its place in what the stage reads.
        stage_of = torch.cat([torch.zeros(trunk), torch.arange(1, stages + 1).repeat_interleave(each)])
        place = torch.cat([torch.arange(trunk), trunk + torch.arange(each).repeat(stages)])
        self.key_stage, self.key_place = (t.to(bench.device, torch.int32) for t in (stage_of, place))
        self.own_rows = [
            row for s in range(stages) for row in range(trunk + s * each + self.prompt, trunk + (s + 1) * each)
        ]
        rows = self.own_rows if queries == "own" else list(range(self.keys))
        self.rows = torch.tensor(rows, device=bench.device)
        self.query_stage, self.query_place = self.key_stage[self.rows], self.key_place[self.rows]

    def sees(self, q, k):
        same = (self.query_stage[q] == self.key_stage[k]) | (self.key_stage[k] == 0)
        return same & (self.key_place[k] <= self.query_place[q])

    def pairs(self):
        return self.stages * (self.own * (self.trunk + self.prompt) + self.own * (self.own + 1) // 2)

    def work(self):
        """Bytes and operations of the forward of the rows that are new: what ours is counted with."""
        numbers = len(self.own_rows) * self.heads * self.dim
        return 4 * self.keys * self.kv_heads * self.dim + 4 * numbers, 4 * self.dim * self.heads * self.pairs()

    def tensors(self, grad=False):
        torch, bench = self.bench.torch, self.bench
        q = bench.random(1, self.heads, len(self.rows), self.dim).requires_grad_(grad)
        copies = 1 if grad else bench.copies_of(4 * self.keys * self.kv_heads * self.dim)
        kv = [
            tuple(bench.random(1, self.kv_heads, self.keys, self.dim).requires_grad_(grad) for _ in range(2))
            for _ in range(copies)
        ]
        return q, kv

    def gathered(self):
        """[stages, rows that a stage reads]: rows of the keys."""
        torch = self.bench.torch
        each = self.prompt + self.own
        own = self.trunk + torch.arange(self.stages)[:, None] * each + torch.arange(each)[None]
        trunk = torch.arange(self.trunk).expand(self.stages, -1)
        return torch.cat([trunk, own], dim=1).to(self.bench.device)


def check_view(bench, shape):
    """That the three forms of a peer are one function: of few rows only, because all pairs are looked at."""
    torch = bench.torch
    attention = torch.nn.functional.scaled_dot_product_attention
    view = View(bench, shape)
    at = torch.arange(len(view.rows), device=bench.device)[:, None]
    mask = view.sees(at, torch.arange(view.keys, device=bench.device)[None])
    assert mask.sum().item() == view.pairs(), "the mask of " + shape["name"] + " is not its view"
    q, [(k, v), *_] = view.tensors()
    dense = attention(q, k, v, attn_mask=mask, enable_gqa=True)
    create, flex = flex_parts(bench)
    block_mask = create(
        lambda b, h, i, j: view.sees(i, j), None, None, len(view.rows), view.keys, device=bench.device
    )
    torch.testing.assert_close(flex(q, k, v, block_mask=block_mask, enable_gqa=True), dense, atol=0.02, rtol=0.02)
    index = view.gathered()
    stage_q = q[0].reshape(view.heads, view.stages, view.own, view.dim).transpose(0, 1)
    near = mask.reshape(view.stages, view.own, view.keys).gather(2, index[:, None].expand(-1, view.own, -1))
    stage_k, stage_v = (t[0][:, index].transpose(0, 1) for t in (k, v))
    each = attention(stage_q, stage_k, stage_v, attn_mask=near[:, None], enable_gqa=True)
    assert near.sum().item() == view.pairs(), "what is gathered for " + shape["name"] + " is not all that it sees"
    torch.testing.assert_close(each.transpose(0, 1).reshape(dense[0].shape), dense[0], atol=0.02, rtol=0.02)


def flex_parts(bench):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    if bench.device != "cuda":
        return create_block_mask, flex_attention
    torch = bench.torch
    # Every shape is compiled for itself. Beyond the limit it would run uncompiled, and nobody would say so.
    config = torch._dynamo.config
    for name, value in (("recompile_limit", 256), ("cache_size_limit", 256), ("fail_on_recompile_limit_hit", True)):
        if hasattr(config, name):
            setattr(config, name, value)
    return torch.compile(create_block_mask), torch.compile(flex_attention, dynamic=False)


def flex_peers(bench, shape):
    view = View(bench, shape)
    create, flex = flex_parts(bench)
    mask = lambda: create(  # noqa: E731
        lambda b, h, q, k: view.sees(q, k), None, None, len(view.rows), view.keys, device=bench.device
    )

    def kernel():
        block_mask = mask()
        q, kv = view.tensors()
        call = lambda i: flex(q, *kv[i], block_mask=block_mask, enable_gqa=True)  # noqa: E731
        return bench.time(call, len(kv)), *view.work()

    def both():
        q, kv = view.tensors()
        call = lambda i: flex(q, *kv[i], block_mask=mask(), enable_gqa=True)  # noqa: E731
        return bench.time(call, len(kv), graph=False), *view.work()

    bench.attempt(shape["name"], "flex", kernel)
    bench.attempt(shape["name"], "flex + mask", both)


def sdpa_peers(bench, shape):
    torch = bench.torch
    attention = torch.nn.functional.scaled_dot_product_attention
    view = View(bench, shape)

    def inputs():
        index = view.gathered()
        rows = index.shape[1]
        q = bench.random(view.stages, view.heads, view.own, view.dim)
        bias = None
        if view.own > 1:
            from torch.nn.attention.bias import causal_lower_right

            bias = causal_lower_right(view.own, rows)
        return q, index, bias

    def alone():
        q, index, bias = inputs()
        size = 4 * view.stages * index.shape[1] * view.kv_heads * view.dim
        copies = bench.copies_of(size)
        kv = [
            tuple(bench.random(view.stages, view.kv_heads, index.shape[1], view.dim) for _ in range(2))
            for _ in range(copies)
        ]
        group = view.heads // view.kv_heads
        if bias is not None:  # its form of a mask takes no groups
            kv = [tuple(t.repeat_interleave(group, 1) for t in pair) for pair in kv[:2]]
        call = lambda i: attention(q, *kv[i], attn_mask=bias, enable_gqa=bias is None)  # noqa: E731
        return bench.time(call, len(kv)), *view.work()

    def gather():
        q, index, bias = inputs()
        _, kv = view.tensors()
        group = view.heads // view.kv_heads

        def call(i):
            k, v = (t[0][:, index].transpose(0, 1) for t in kv[i])
            if bias is not None:
                k, v = (t.repeat_interleave(group, 1) for t in (k, v))
            return attention(q, k, v, attn_mask=bias, enable_gqa=bias is None)

        return bench.time(call, len(kv)), *view.work()

    def dense():
        if view.keys * len(view.rows) > 1 << 28:
            raise Skip("the dense mask would have more than 2^28 entries")
        at = torch.arange(len(view.rows), device=bench.device)[:, None]
        mask = view.sees(at, torch.arange(view.keys, device=bench.device)[None])
        q, kv = view.tensors()
        call = lambda i: attention(q, *kv[i], attn_mask=mask, enable_gqa=True)  # noqa: E731
        return bench.time(call, len(kv)), *view.work()

    bench.attempt(shape["name"], "sdpa", alone)
    bench.attempt(shape["name"], "sdpa + gather", gather)
    bench.attempt(shape["name"], "sdpa dense mask", dense)


def backward_peers(bench, shape):
    for queries, subject in (("all", "flex all rows"), ("own", "flex live queries")):

        def measure(queries=queries):
            view = View(bench, shape, queries)
            create, flex = flex_parts(bench)
            block_mask = create(
                lambda b, h, q, k: view.sees(q, k), None, None, len(view.rows), view.keys, device=bench.device
            )
            grad = bench.device == "cuda"  # on a CPU it has no backward
            q, [(k, v)] = view.tensors(grad=True) if grad else (lambda q, kv: (q, kv[:1]))(*view.tensors())
            out = flex(q, k, v, block_mask=block_mask, enable_gqa=True)
            if not grad:
                raise Skip("FlexAttention has no backward on this device")
            dout = bench.torch.randn_like(out)
            call = lambda _: bench.torch.autograd.grad(out, (q, k, v), dout, retain_graph=True)  # noqa: E731
            size, flops = view.work()
            return bench.time(call, graph=False), size, 2.5 * flops

        bench.attempt(shape["name"], subject, measure)


# ---- whole models, with random weights


def model_of(bench, shape):
    try:
        import transformers
    except ImportError as error:
        raise Skip(f"no transformers: {error}") from error
    config = transformers.LlamaConfig(
        hidden_size=shape["hidden"],
        intermediate_size=shape["ffn"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kvHeads"],
        head_dim=shape["headDim"],
        vocab_size=shape["vocab"],
        max_position_embeddings=131072,
        attn_implementation="sdpa",
    )
    torch = bench.torch
    with torch.device(bench.device):
        torch.set_default_dtype(torch.bfloat16)
        try:
            return transformers.LlamaForCausalLM(config).eval()
        finally:
            torch.set_default_dtype(torch.float32)


def handover_peers(bench, shapes):
    torch, wanted = bench.torch, shapes["handover"]
    case = "handover 8k " + wanted["model"]
    made = []

    def model():
        if not made:
            made.append(model_of(bench, shapes["models"][wanted["model"]]))
        return made[0]

    def ids(rows):
        return torch.randint(0, shapes["models"][wanted["model"]]["vocab"], (1, rows), device=bench.device)

    def first_token(tokens, cache=None):
        with torch.inference_mode():
            out = model()(tokens, past_key_values=cache, use_cache=cache is not None, logits_to_keep=1)
            return out.logits[0, -1].argmax().item()

    def again():
        tokens = ids(wanted["shared"] + wanted["opener"])
        return bench.time(lambda _: first_token(tokens), graph=False, most_calls=1), 0, 0

    def kept():
        from transformers import DynamicCache

        cache, opener = DynamicCache(), ids(wanted["opener"])
        first_token(ids(wanted["shared"]), cache)

        def call(_):
            first_token(opener, cache)
            cache.crop(-wanted["opener"])  # what it had

        return bench.time(call, graph=False, most_calls=1), 0, 0

    bench.attempt(case, "torch re-prefill", again)
    bench.attempt(case, "torch cached prefix", kept)


def train_peer(bench, shapes):
    torch, wanted = bench.torch, shapes["train"]

    def measure():
        try:
            import peft
        except ImportError as error:
            raise Skip(f"no PEFT: {error}") from error
        shape = shapes["models"][wanted["model"]]
        model = peft.get_peft_model(
            model_of(bench, shape),
            peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=wanted["virtual"]),
        )
        model.to(bench.device).train()
        tuned = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(tuned, lr=1e-3)
        rows = wanted["input"] + wanted["output"]
        ids = torch.randint(0, shape["vocab"], (wanted["batch"], rows), device=bench.device)
        labels = ids.clone()
        labels[:, : wanted["input"]] = -100

        def step(_):
            loss = model(input_ids=ids, labels=labels, use_cache=False).loss
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

        return bench.time(step, graph=False, most_calls=1), 0, 0

    bench.attempt("train step " + wanted["model"], "peft", measure)


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
