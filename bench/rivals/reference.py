# SPDX-License-Identifier: Apache-2.0
"""Next-token distributions of a GGUF model in float32, for divergence/reference-file.ts, which has the format.

Law: transformers with eager attention on exactly dequantised weights, every chunk from an empty cache, nothing added
to its tokens. Distributions are taken in float64 before they are rounded to steps.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

RANGE = 16.0  # nats below the likeliest token, beyond which nothing is told apart
STEPS = 65535


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, required=True, help="JSON list of ids, whole chunks")
    parser.add_argument("--rows", type=int, required=True, help="of a chunk")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def encode(logits):
    """uint16 [n, 4 + V rounded up to even] of logits [n, V]: step and least ln p as float32, then steps above it."""
    logits = logits.double()
    most = logits.max(dim=1).values
    least = torch.maximum(logits.min(dim=1).values, most - RANGE)
    normalizer = torch.logsumexp(logits, dim=1)
    step = (most - least) / STEPS
    counts = ((logits - least[:, None]) / step.clamp(min=1e-30)[:, None]).clamp(0, STEPS).round()
    heads = torch.stack([step, least - normalizer], dim=1).numpy().astype(np.float32).view(np.uint16)
    body = counts.numpy().astype(np.uint16)
    padding = np.zeros((len(body), body.shape[1] % 2), np.uint16)
    return np.concatenate([heads, body, padding], axis=1)


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    tokens = np.array(json.loads(options.tokens.read_text()), np.int32)
    chunks = tokens.reshape(-1, options.rows)
    model = AutoModelForCausalLM.from_pretrained(
        options.model.parent,
        gguf_file=options.model.name,
        dtype=torch.float32,
        attn_implementation="eager",
    ).eval()
    first = options.rows // 2
    with options.out.open("wb") as out:
        out.write(b"_logits_")
        out.write(np.array([options.rows, model.config.vocab_size, len(chunks)], np.int32).tobytes())
        out.write(tokens.tobytes())
        for chunk in chunks:
            hidden = model.model(torch.from_numpy(chunk).long()[None]).last_hidden_state[0, first:-1]
            out.write(encode(model.lm_head(hidden)).tobytes())


if __name__ == "__main__":
    main()
