# SPDX-License-Identifier: Apache-2.0
"""Whole models of transformers with random weights: a hand-over, and a step of PEFT."""

from .timing import Skip


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
