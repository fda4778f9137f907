// SPDX-License-Identifier: Apache-2.0
// Uploads from two pinned buffers, each copied from on a stream of its own: one is written while
// the other is on its way.
#pragma once

#include <memory>

#include "device/upload.h"

namespace baton {

class CudaStream;

// Null where no such memory is to be had. What is sent comes beside what is issued on `device`, so
// memory that is sent to must be nobody's there until finish(). `device` outlives it. Throws
// DEVICE_UNAVAILABLE (device-lost).
std::unique_ptr<Uploader> pinnedUploader(CudaStream& device, size_t size);

}  // namespace baton
