# SPDX-License-Identifier: Apache-2.0
"""Times optimiser steps of prompt tuning in PyTorch on the chains of a benchmark case.

Law: all forms train the same prompt of the same stage on the same token ids, with AdamW, on a model that
transformers dequantises from the same file; only what a step computes differs.

form "fthss": the released FTHSS form. The whole sequence [prompts, inputs, outputs] of one chain, a dense mask
  of who reads what, absolute positions, batch 1; the frozen part runs forward and backward in every step.
form "peft": PEFT's prompt tuning on the text hand-over. [prompt, what the stage reads, output], ordinary causal
  attention, batches padded on the right.
form "probe": no training; which of float32 and bfloat16 is faster here, from a forward and backward pass over a
  short text in each. A process of its own, because it would raise the peak of the other forms.

Prints one JSON line: {"dtype", "seconds": [per item, one entry per repetition], "peakBytes", "versions"}; "probe"
only {"dtype", "seconds": {dtype: seconds}}.
"""

import argparse
import json
import resource
import sys
import time

import peft
import torch
import transformers

IGNORED = -100
PROBE_ROWS = 32
DTYPES = ["float32", "bfloat16"]


def read_chains(path, stage):
    """[(inputs, turns)] as lists of (name, role, reads, own, ids), up to and including the trained stage."""
    chains = []
    for chain in json.load(open(path, encoding="utf-8")):
        pieces = {one["name"]: one for one in [*chain["inputs"], *chain["turns"]]}
        names = [turn["name"] for turn in chain["turns"]]
        turns = chain["turns"][: names.index(stage) + 1]
        chains.append((pieces, turns))
    return chains


def peft_rows(chain):
    """Ids of what the last turn reads and of its output, and how many of them are the output."""
    pieces, turns = chain
    last = turns[-1]
    shown = [token for name in [*last["reads"], *last["own"]] for token in pieces[name]["tokens"]]
    return shown, last["tokens"]


def step_of_peft(model, batch):
    rows = [peft_rows(chain) for chain in batch]
    longest = max(len(shown) + len(output) for shown, output in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), longest), IGNORED)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for row, (shown, output) in enumerate(rows):
        end = len(shown) + len(output)
        ids[row, :end] = torch.tensor(shown + output)
        # transformers shifts labels by one: the closing token, which is no row, goes unlabelled here.
        labels[row, len(shown) : end] = torch.tensor(output)
        mask[row, :end] = 1
    return model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss


def fthss_parts(chain):
    """Blocks (name, role or None, ids, names that it sees in full) in the paper's order, prompts apart."""
    pieces, turns = chain
    owned = {name for turn in turns for name in turn["own"]}
    shared = [name for name in pieces if name not in owned and "role" not in pieces[name]]
    blocks = [(name, None, pieces[name]["tokens"], shared[: shared.index(name)]) for name in shared]
    for turn in turns:
        sees = list(turn["reads"])
        for name in turn["own"]:
            blocks.append((name, turn["role"], pieces[name]["tokens"], list(sees)))
            sees.append(name)
        blocks.append((turn["name"], turn["role"], turn["tokens"], sees))
    return blocks


def step_of_fthss(model, prompts, batch):
    (chain,) = batch
    blocks = fthss_parts(chain)
    embed = model.get_input_embeddings()
    names = [*prompts, *[name for name, _, _, _ in blocks]]
    rows = [prompt for prompt in prompts.values()]
    rows += [embed(torch.tensor(ids)) for _, _, ids, _ in blocks]
    owner = torch.repeat_interleave(torch.arange(len(names)), torch.tensor([len(one) for one in rows]))
    total = len(owner)
    visible = (owner[:, None] == owner[None]) & torch.ones(total, total, dtype=torch.bool).tril()
    for name, role, _, sees in blocks:
        index = names.index(name)
        for read in [*sees, *([role] if role is not None else [])]:
            visible[(owner == index)[:, None] & (owner == names.index(read))[None]] = True
    mask = torch.zeros(total, total, dtype=rows[0].dtype).masked_fill(~visible, torch.finfo(rows[0].dtype).min)
    output = blocks[-1][2]
    labels = torch.full((1, total), IGNORED)
    labels[0, -len(output) :] = torch.tensor(output)
    return model(
        inputs_embeds=torch.cat(rows)[None],
        attention_mask=mask[None, None],
        position_ids=torch.arange(total)[None],
        labels=labels,
        use_cache=False,
    ).loss


def load(path, dtype):
    folder, _, name = path.rpartition("/")
    # Packed weights, which transformers would keep otherwise, are unpacked again in every product: slower to train on.
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=name,
        dtype=dtype,
        attn_implementation="sdpa",
        quantization_config=transformers.GgufConfig(dequantize=True),
    )
    model.requires_grad_(False)
    return model.train(False)


def prepare(options, dtype):
    """A function that takes one optimiser step over a batch of chains."""
    model = load(options.model, dtype)
    if options.form == "peft":
        config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=options.virtual_tokens)
        model = peft.get_peft_model(model, config)
        trained = [one for one in model.parameters() if one.requires_grad]

        def loss_of(batch):
            return step_of_peft(model, batch)

    else:
        hidden = model.config.hidden_size
        generator = torch.Generator().manual_seed(0)
        roles = [turn["role"] for turn in options.chains[0][1]]
        prompts = {
            role: (torch.randn(options.virtual_tokens, hidden, generator=generator) * 0.1).to(dtype)
            for role in dict.fromkeys(roles)
        }
        trained = [prompts[roles[-1]].requires_grad_(True)]

        def loss_of(batch):
            return step_of_fthss(model, prompts, batch)

    optimiser = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)

    def step(batch):
        loss = loss_of(batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if not torch.isfinite(loss):
            raise SystemExit(f"the loss is {float(loss)}")

    return step


def batches(chains, size):
    return [chains[at : at + size] for at in range(0, len(chains), size)]


def time_items(options, dtype, repetitions):
    step = prepare(options, dtype)
    parts = batches(options.chains, options.batch)
    step(parts[0])
    seconds = []
    for _ in range(repetitions):
        begin = time.perf_counter()
        for part in parts:
            step(part)
        seconds.append((time.perf_counter() - begin) / len(options.chains))
    return seconds


def seconds_of_probe(path, dtype):
    model = load(path, dtype)
    hidden = model.config.hidden_size
    rows = (torch.randn(1, PROBE_ROWS, hidden) * 0.1).to(dtype).requires_grad_(True)
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        model(inputs_embeds=rows, use_cache=False).logits.float().logsumexp(-1).sum().backward()
        times.append(time.perf_counter() - begin)
    return min(times)


def probe(path):
    seconds = {name: seconds_of_probe(path, getattr(torch, name)) for name in DTYPES}
    print(json.dumps({"dtype": min(seconds, key=seconds.get), "seconds": seconds}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--form", choices=["fthss", "peft", "probe"], required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--chains")
    parser.add_argument("--stage")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--virtual-tokens", type=int)
    parser.add_argument("--dtype", choices=DTYPES)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.form == "probe":
        return probe(options.model)
    options.chains = read_chains(options.chains, options.stage)
    seconds = time_items(options, getattr(torch, options.dtype), options.repetitions)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    versions = f"PyTorch {torch.__version__}, transformers {transformers.__version__}, PEFT {peft.__version__}"
    print(json.dumps({"dtype": options.dtype, "seconds": seconds, "peakBytes": peak, "versions": versions}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
