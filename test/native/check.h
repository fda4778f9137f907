// SPDX-License-Identifier: Apache-2.0
// The harness of the native unit tests: a test registers itself by name, checks record what they
// saw, and main.cpp prints one JSON line per result, so that the runner counts results and never a
// promise of them. Own, because a fresh clone has Node, a compiler and CMake, and no registry
// brings a C++ test framework.
//
// CHECK* note a failure and go on; REQUIRE ends the test; SKIP ends it with a reason. A test that
// ran no check fails.
#pragma once

#include <cmath>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace baton::test {

struct Case {
  std::string name;
  const char* file;
  int line;
  std::function<void()> run;
};

std::vector<Case>& cases();

struct Registrar {
  Registrar(std::string name, const char* file, int line, std::function<void()> run);
};

// Runs the registered tests and prints one JSON object per line: {"start"}, then {"name", "status",
// ...}, at the end {"done": count}. A reader that misses the last line knows that the process died,
// and in which test.
//
//   [--list] [FILTER...]     a test runs when its file's path or its name contains one of the
//   filters
void runTests(int argc, char** argv);

struct EndOfTest {};  // thrown by REQUIRE after it noted the failure

struct Skipped {
  std::string reason;
};

// Thread-safe: checks may run on worker threads.
void notePassed();
void noteFailed(const char* file, int line, const std::string& what);

template <class T>
concept Streamable = requires(std::ostream& out, const T& value) { out << value; };

template <class T>
std::string show(const T& value) {
  if constexpr (Streamable<T>) {
    std::ostringstream out;
    if constexpr (std::is_floating_point_v<T>) out.precision(9);
    if constexpr (sizeof(T) == 1 && std::is_integral_v<T>) {
      out << static_cast<int>(value);
    } else {
      out << value;
    }
    return out.str();
  } else if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<long long>(value));
  } else {
    return "(a value that cannot be printed)";
  }
}

inline bool expect(bool ok, const char* file, int line, const std::string& what) {
  if (ok) {
    notePassed();
  } else {
    noteFailed(file, line, what);
  }
  return ok;
}

template <class A, class B>
bool equal(const A& a, const B& b) {
  if constexpr (std::is_integral_v<A> && std::is_integral_v<B> && !std::is_same_v<A, bool> &&
                !std::is_same_v<B, bool>) {
    return std::cmp_equal(a, b);
  } else {
    return a == b;
  }
}

template <class A, class B>
bool expectEq(const A& a, const B& b, const char* file, int line, const char* text) {
  if (equal(a, b)) return expect(true, file, line, {});
  return expect(false, file, line, std::string(text) + ": " + show(a) + " is not " + show(b));
}

// Also false when either side is NaN.
inline bool expectNear(double a, double b, double tolerance, const char* file, int line,
                       const char* text) {
  if (std::fabs(a - b) <= tolerance) return expect(true, file, line, {});
  return expect(false, file, line,
                std::string(text) + ": " + show(a) + " and " + show(b) + " differ by more than " +
                    show(tolerance));
}

// `code` is what Error::code() must say, given as text.
void expectThrows(std::string_view code, const std::function<void()>& run, const char* file,
                  int line, const char* text);

}  // namespace baton::test

#define BATON_TEST_JOIN2(a, b) a##b
#define BATON_TEST_JOIN(a, b) BATON_TEST_JOIN2(a, b)

// TEST("quant: q4_1 block round trip") { ... }
#define TEST(name)                                                                 \
  static void BATON_TEST_JOIN(batonTest, __LINE__)();                              \
  static const ::baton::test::Registrar BATON_TEST_JOIN(batonRegistrar, __LINE__){ \
      name, __FILE__, __LINE__, BATON_TEST_JOIN(batonTest, __LINE__)};             \
  static void BATON_TEST_JOIN(batonTest, __LINE__)()

#define CHECK(condition) \
  ::baton::test::expect(static_cast<bool>(condition), __FILE__, __LINE__, #condition)
#define CHECK_EQ(a, b) ::baton::test::expectEq((a), (b), __FILE__, __LINE__, #a " == " #b)
#define CHECK_NEAR(a, b, tolerance) \
  ::baton::test::expectNear((a), (b), (tolerance), __FILE__, __LINE__, #a " ~ " #b)
#define CHECK_THROWS(code, ...) \
  ::baton::test::expectThrows((code), [&] { __VA_ARGS__; }, __FILE__, __LINE__, #__VA_ARGS__)
#define REQUIRE(condition)                                   \
  do {                                                       \
    if (!CHECK(condition)) throw ::baton::test::EndOfTest{}; \
  } while (false)
#define SKIP(reason)             \
  throw ::baton::test::Skipped { \
    reason                       \
  }
