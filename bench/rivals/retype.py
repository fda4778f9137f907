# SPDX-License-Identifier: Apache-2.0
"""A GGUF model with its weights in another type: kernels of every type on real weights, without a download of each.

Law: matrices are dequantised as gguf-py does it and quantised again as it does; vectors and metadata stay.
"""

import argparse
from pathlib import Path

import gguf
from gguf import GGMLQuantizationType, GGUFValueType, quants


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--type", required=True, help="e.g. Q8_0")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def copy_metadata(reader, writer, target):
    own = {"general.architecture", "general.file_type"}
    for name, field in reader.fields.items():
        if name in own or name.startswith("GGUF."):
            continue
        of = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], of)
    writer.add_file_type(gguf.LlamaFileType[f"ALL_{target}" if target == "F32" else f"MOSTLY_{target}"])


def main():
    options = arguments()
    target = GGMLQuantizationType[options.type]
    reader = gguf.GGUFReader(options.model)
    writer = gguf.GGUFWriter(options.out, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer, options.type)
    for tensor in reader.tensors:
        values = quants.dequantize(tensor.data, tensor.tensor_type)
        if values.ndim < 2:
            writer.add_tensor(tensor.name, values)
        else:
            writer.add_tensor(tensor.name, quants.quantize(values, target), raw_dtype=target)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
