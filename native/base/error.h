// SPDX-License-Identifier: Apache-2.0
// One error type for all native code. A failure names the thing, the value and the remedy in
// `what()`, carries a stable code that TypeScript maps to a class, and facts (name -> number or
// text) for programs. Nothing in native code aborts, prints or exits.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace baton {

// Stable across releases; errors.ts has the class of each.
namespace code {
inline constexpr const char* kModelFormat = "MODEL_FORMAT";
inline constexpr const char* kModelUnsupported = "MODEL_UNSUPPORTED";
inline constexpr const char* kOutOfMemory = "OUT_OF_MEMORY";
inline constexpr const char* kCacheBudget = "CACHE_BUDGET";
inline constexpr const char* kContextLimit = "CONTEXT_LIMIT";
inline constexpr const char* kOptionInvalid = "OPTION_INVALID";
inline constexpr const char* kKvMismatch = "KV_MISMATCH";
inline constexpr const char* kSnapshotInvalid = "SNAPSHOT_INVALID";
inline constexpr const char* kClosed = "CLOSED";
inline constexpr const char* kIo = "IO";
inline constexpr const char* kNotFinite = "NOT_FINITE";
inline constexpr const char* kConstraintInvalid = "CONSTRAINT_INVALID";
inline constexpr const char* kConstraintUnavailable = "CONSTRAINT_UNAVAILABLE";
inline constexpr const char* kAborted = "ABORTED";
inline constexpr const char* kInternal = "INTERNAL";
}  // namespace code

class Error : public std::exception {
 public:
  using Fact = std::pair<std::string, std::variant<double, std::string>>;

  Error(const char* code, std::string message, std::vector<Fact> facts = {})
      : code_(code),
        said_(std::make_shared<const Said>(Said{std::move(message), std::move(facts)})) {}

  const char* what() const noexcept override { return said_->message.c_str(); }
  const char* code() const noexcept { return code_; }
  const std::vector<Fact>& facts() const noexcept { return said_->facts; }

 private:
  struct Said {
    std::string message;
    std::vector<Fact> facts;
  };
  const char* code_;
  std::shared_ptr<const Said> said_;  // shared: telling every job of a failure takes no memory
};

}  // namespace baton
