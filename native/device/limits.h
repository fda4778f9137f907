// SPDX-License-Identifier: Apache-2.0
// What this machine can do at most, measured: everything that is called a share of a limit refers
// to these. With all threads of a pool together, because that is what runs an operation.
#pragma once

#include <cstddef>

#include "base/buffer.h"
#include "base/threads.h"
#include "base/trace.h"
#include "kernels/probes/probes.h"

namespace baton {

// Those of the instruction set in use.
const Probes& cpuProbes();

// Each worker runs the loop once; returns after the last.
void spinFma(ThreadPool& threads, const Probes& probes, int64_t rounds);
void spinInt8(ThreadPool& threads, const Probes& probes, int64_t rounds);
void spinBf16(ThreadPool& threads, const Probes& probes, int64_t rounds);

// Each worker reads its own part of `buffer` so many times; small buffers need many, or the
// threads' start is what is measured.
void readPasses(ThreadPool& threads, const Probes& probes, const Buffer& buffer, int passes);

// A buffer of whole kProbeBytes a worker, written once so that its pages are there.
Buffer probeBuffer(const ThreadPool& threads, size_t bytes);

// In well under a tenth of a second: the best of some short runs, because others on the machine
// only slow them down. Memory is read from a buffer of 64 MiB. Measured once for a number of
// threads.
trace::Limits measureLimits(ThreadPool& threads);

}  // namespace baton
