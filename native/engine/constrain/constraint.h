// SPDX-License-Identifier: Apache-2.0
// What an output may be: a grammar over the tokens of a vocabulary. An engine that knows grammars
// is a Constrainer; it makes a Grammar of a JSON Schema or a regular expression once, and every
// output has a Constraint of its own: mask, sample, accept, and again.
//
// Closing tokens are not the grammar's: the engine allows them where the output may end, and
// nowhere else, so that custom ones, or none, work with any grammar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/stop_matcher.h"

namespace baton {

struct GrammarSpec {
  enum class Kind : uint8_t { kJsonSchema, kRegex };
  Kind kind = Kind::kJsonSchema;
  std::string text;
};

// A set of token ids: token t is bit t % 32 of word t / 32.
class TokenMask {
 public:
  explicit TokenMask(size_t tokens) : words_((tokens + 31) / 32) {}

  bool has(int32_t token) const { return (words_[word(token)] >> bit(token) & 1) != 0; }
  void set(int32_t token, bool allowed) {
    const uint32_t one = uint32_t{1} << bit(token);
    words_[word(token)] = allowed ? words_[word(token)] | one : words_[word(token)] & ~one;
  }
  bool none() const {
    for (const uint32_t word : words_) {
      if (word != 0) return false;
    }
    return true;
  }
  uint32_t* data() { return words_.data(); }
  const uint32_t* data() const { return words_.data(); }
  size_t words() const { return words_.size(); }

 private:
  static size_t word(int32_t token) { return static_cast<size_t>(token) / 32; }
  static uint32_t bit(int32_t token) { return static_cast<uint32_t>(token) % 32; }
  std::vector<uint32_t> words_;
};

enum class GrammarEnd : uint8_t {
  kNo,    // the text so far is none that the grammar has
  kMay,   // it is one, and the beginning of others
  kMust,  // it is one, and nothing may follow
};

// Of one output; used by one thread at a time. Errors: CONSTRAINT_INVALID, when a grammar turns out
// to be more than the engine can follow.
class Constraint {
 public:
  virtual ~Constraint() = default;
  // Sets the tokens that may come next and clears all others. True: the output may also end here.
  virtual bool mask(TokenMask& allowed) = 0;
  virtual void accept(int32_t token) = 0;
  virtual GrammarEnd end() = 0;
};

// Immutable: any thread may begin outputs.
class Grammar {
 public:
  virtual ~Grammar() = default;
  virtual std::unique_ptr<Constraint> begin() const = 0;
};

class Constrainer {
 public:
  virtual ~Constrainer() = default;
  // Any thread. Errors: CONSTRAINT_INVALID with what is wrong with the text, a grammar that no text
  // satisfies included.
  virtual std::shared_ptr<const Grammar> compile(const GrammarSpec& spec) const = 0;
};

}  // namespace baton
