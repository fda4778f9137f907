// SPDX-License-Identifier: Apache-2.0
// The functions of the addon, one file per noun; src/native/types.ts states what each does.
#pragma once

#include <napi.h>

namespace baton {

Napi::Value doctor(const Napi::CallbackInfo& info);
Napi::Value cudaReport(const Napi::CallbackInfo& info);
Napi::Value takeWarnings(const Napi::CallbackInfo& info);
Napi::Value availableThreads(const Napi::CallbackInfo& info);
Napi::Value availableMemory(const Napi::CallbackInfo& info);

Napi::Value readModelFile(const Napi::CallbackInfo& info);
Napi::Value openModel(const Napi::CallbackInfo& info);
Napi::Value modelInfo(const Napi::CallbackInfo& info);
Napi::Value tokenEmbeddings(const Napi::CallbackInfo& info);
Napi::Value setVocabulary(const Napi::CallbackInfo& info);
Napi::Value cacheStats(const Napi::CallbackInfo& info);
Napi::Value settleTiers(const Napi::CallbackInfo& info);
Napi::Value engineStats(const Napi::CallbackInfo& info);
Napi::Value cacheCensus(const Napi::CallbackInfo& info);
Napi::Value closeModel(const Napi::CallbackInfo& info);

Napi::Value compileGrammar(const Napi::CallbackInfo& info);

Napi::Value createSegment(const Napi::CallbackInfo& info);
Napi::Value segmentInfo(const Napi::CallbackInfo& info);
Napi::Value closeSegment(const Napi::CallbackInfo& info);
Napi::Value releaseSegment(const Napi::CallbackInfo& info);

Napi::Value exportSegment(const Napi::CallbackInfo& info);
Napi::Value importSegment(const Napi::CallbackInfo& info);
Napi::Value saveSnapshot(const Napi::CallbackInfo& info);
Napi::Value streamSnapshot(const Napi::CallbackInfo& info);
Napi::Value readSnapshotBlocks(const Napi::CallbackInfo& info);
Napi::Value openSnapshot(const Napi::CallbackInfo& info);
Napi::Value snapshotHeadBytes(const Napi::CallbackInfo& info);
Napi::Value parseSnapshot(const Napi::CallbackInfo& info);
Napi::Value beginRestore(const Napi::CallbackInfo& info);
Napi::Value fillRestore(const Napi::CallbackInfo& info);
Napi::Value feedRestore(const Napi::CallbackInfo& info);
Napi::Value takeSegment(const Napi::CallbackInfo& info);
Napi::Value releaseSnapshot(const Napi::CallbackInfo& info);

Napi::Value submit(const Napi::CallbackInfo& info);
Napi::Value submitTrainStep(const Napi::CallbackInfo& info);
Napi::Value createTrained(const Napi::CallbackInfo& info);
Napi::Value readTrained(const Napi::CallbackInfo& info);
Napi::Value submitTrainUpdate(const Napi::CallbackInfo& info);
Napi::Value releaseTrained(const Napi::CallbackInfo& info);
Napi::Value cancelJob(const Napi::CallbackInfo& info);

}  // namespace baton
