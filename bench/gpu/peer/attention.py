# SPDX-License-Identifier: Apache-2.0
"""Attention of the shapes that stages and their trunk make: FlexAttention with a block mask, and SDPA."""

from .timing import Skip


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
