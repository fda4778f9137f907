// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <charconv>

namespace baton {
namespace {

constexpr int kDeepest = 64;

void appendUtf8(std::string& out, uint32_t point) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | point >> 6);
    put(0x80 | (point & 63));
  } else if (point < 0x10000) {
    put(0xe0 | point >> 12);
    put(0x80 | (point >> 6 & 63));
    put(0x80 | (point & 63));
  } else {
    put(0xf0 | point >> 18);
    put(0x80 | (point >> 12 & 63));
    put(0x80 | (point >> 6 & 63));
    put(0x80 | (point & 63));
  }
}

class Parser {
 public:
  Parser(std::string_view text, JsonFault& fault) : text_(text), fault_(fault) {}

  std::optional<Json> run() {
    Json json;
    skipSpace();
    if (!value(json, 0)) return std::nullopt;
    skipSpace();
    if (at_ != text_.size()) {
      fail("text after the value");
      return std::nullopt;
    }
    return json;
  }

 private:
  bool fail(const char* what) {
    fault_ = {at_, what};
    return false;
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool take(char wanted) {
    if (peek() != wanted || at_ == text_.size()) return false;
    ++at_;
    return true;
  }

  void skipSpace() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  bool word(std::string_view wanted, Json::Value meaning, Json& out) {
    if (text_.substr(at_, wanted.size()) != wanted) return fail("no value");
    at_ += wanted.size();
    out.value = std::move(meaning);
    return true;
  }

  bool value(Json& out, int depth) {
    if (depth > kDeepest) return fail("nested too deeply");
    if (++values_ > kMostJsonValues) return fail("more values than a header or config can have");
    switch (peek()) {
      case '{':
        return object(out.value.emplace<Json::Object>(), depth);
      case '[':
        return array(out.value.emplace<Json::Array>(), depth);
      case '"':
        return string(out.value.emplace<std::string>());
      case 't':
        return word("true", true, out);
      case 'f':
        return word("false", false, out);
      case 'n':
        return word("null", nullptr, out);
      default:
        return number(out);
    }
  }

  bool object(Json::Object& out, int depth) {
    ++at_;
    skipSpace();
    if (take('}')) return true;
    while (true) {
      auto& [key, member] = out.emplace_back();
      if (peek() != '"') return fail("no key");
      if (!string(key)) return false;
      skipSpace();
      if (!take(':')) return fail("no colon");
      skipSpace();
      if (!value(member, depth + 1)) return false;
      skipSpace();
      if (take('}')) return true;
      if (!take(',')) return fail("neither a comma nor the end of the object");
      skipSpace();
    }
  }

  bool array(Json::Array& out, int depth) {
    ++at_;
    skipSpace();
    if (take(']')) return true;
    while (true) {
      if (!value(out.emplace_back(), depth + 1)) return false;
      skipSpace();
      if (take(']')) return true;
      if (!take(',')) return fail("neither a comma nor the end of the array");
      skipSpace();
    }
  }

  bool string(std::string& out) {
    ++at_;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20) return fail("a control character in a string");
      ++at_;
      if (c == '"') return true;
      if (c != '\\') {
        out += c;
      } else if (!escape(out)) {
        return false;
      }
    }
    return fail("a string without end");
  }

  bool escape(std::string& out) {
    constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const char c = peek();
    if (const size_t index = kNames.find(c); c != '\0' && index != std::string_view::npos) {
      out += kMeanings[index];
      ++at_;
      return true;
    }
    if (!take('u')) return fail("an unknown escape");
    uint32_t point = 0;
    if (!hex4(point)) return false;
    if (point >= 0xd800 && point < 0xdc00 && text_.substr(at_, 2) == "\\u") {
      at_ += 2;
      uint32_t low = 0;
      if (!hex4(low)) return false;
      if (low < 0xdc00 || low > 0xdfff) return fail("half of a surrogate pair");
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    } else if (point >= 0xd800 && point <= 0xdfff) {
      return fail("half of a surrogate pair");
    }
    appendUtf8(out, point);
    return true;
  }

  bool hex4(uint32_t& out) {
    if (text_.size() - at_ < 4) return fail("an escape without end");
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, begin + 4, out, 16);
    if (error != std::errc{} || end != begin + 4) return fail("an escape that is no number");
    at_ += 4;
    return true;
  }

  bool number(Json& out) {
    const size_t begin = at_;
    take('-');
    const size_t first = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    const size_t digits = at_ - first;
    if (digits == 0) return fail("no value");
    if (digits > 1 && text_[first] == '0') return fail("a number with a leading zero");
    bool whole = true;
    while (peek() != '\0' &&
           std::string_view("0123456789.eE+-").find(peek()) != std::string_view::npos) {
      whole = false;
      ++at_;
    }
    const char* from = text_.data() + begin;
    const char* to = text_.data() + at_;
    int64_t integer = 0;
    if (whole && std::from_chars(from, to, integer).ec == std::errc{}) {
      out.value = integer;
      return true;
    }
    double real = 0;
    const auto [end, error] = std::from_chars(from, to, real);
    if (error != std::errc{} || end != to) return fail("no number");
    out.value = real;
    return true;
  }

  std::string_view text_;
  JsonFault& fault_;
  size_t at_ = 0;
  size_t values_ = 0;
};

}  // namespace

std::optional<uint64_t> Json::count() const {
  const auto* integer = std::get_if<int64_t>(&value);
  if (integer == nullptr || *integer < 0) return std::nullopt;
  return static_cast<uint64_t>(*integer);
}

std::optional<double> Json::number() const {
  if (const auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
  if (const auto* real = std::get_if<double>(&value)) return *real;
  return std::nullopt;
}

const Json* Json::find(std::string_view key) const {
  if (object() == nullptr) return nullptr;
  for (const auto& [name, member] : *object()) {
    if (name == key) return &member;
  }
  return nullptr;
}

std::optional<Json> parseJson(std::string_view text, JsonFault& fault) {
  return Parser(text, fault).run();
}

}  // namespace baton
