// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "base/error.h"

namespace baton::test {
namespace {

constexpr std::size_t kMaxMessages = 10;

struct Notes {
  std::mutex mutex;
  long passed = 0;
  long failed = 0;
  std::vector<std::string> messages;
};

Notes& notes() {
  static Notes instance;
  return instance;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned char>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

// Path below the repository, e.g. test/native/quant/q4.cpp.
std::string shortPath(const char* file) {
  const char* found = std::strstr(file, "test/native/");
  return found ? found : file;
}

struct Outcome {
  const char* status;
  std::string reason;  // of a skip
};

Outcome runCase(const Case& test) {
  {
    const std::lock_guard lock(notes().mutex);
    notes().passed = notes().failed = 0;
    notes().messages.clear();
  }
  try {
    test.run();
  } catch (const Skipped& skipped) {
    return {notes().failed ? "failed" : "skipped", skipped.reason};
  } catch (const EndOfTest&) {
  } catch (const Error& error) {
    noteFailed(test.file, test.line, std::string("threw ") + error.code() + ": " + error.what());
  } catch (const std::exception& error) {
    noteFailed(test.file, test.line, std::string("threw: ") + error.what());
  } catch (...) {
    noteFailed(test.file, test.line, "threw something that is no std::exception");
  }
  if (notes().passed + notes().failed == 0) noteFailed(test.file, test.line, "ran no check");
  return {notes().failed ? "failed" : "passed", {}};
}

void report(const Case& test) {
  std::printf("{\"start\":%s}\n", quoted(test.name).c_str());
  std::fflush(stdout);
  const auto begin = std::chrono::steady_clock::now();
  const Outcome outcome = runCase(test);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  std::string messages;
  for (const std::string& message : notes().messages) {
    messages += (messages.empty() ? "" : ",") + quoted(message);
  }
  std::printf(
      "{\"name\":%s,\"file\":%s,\"status\":\"%s\",\"ms\":%.3f,\"checks\":%ld,"
      "\"reason\":%s,\"messages\":[%s]}\n",
      quoted(test.name).c_str(), quoted(shortPath(test.file)).c_str(), outcome.status, took.count(),
      notes().passed + notes().failed, quoted(outcome.reason).c_str(), messages.c_str());
  std::fflush(stdout);
}

}  // namespace

std::vector<Case>& cases() {
  static std::vector<Case> instance;
  return instance;
}

Registrar::Registrar(std::string name, const char* file, int line, std::function<void()> run) {
  cases().push_back({std::move(name), file, line, std::move(run)});
}

void notePassed() {
  const std::lock_guard lock(notes().mutex);
  ++notes().passed;
}

void noteFailed(const char* file, int line, const std::string& what) {
  const std::lock_guard lock(notes().mutex);
  if (static_cast<std::size_t>(notes().failed++) < kMaxMessages) {
    notes().messages.push_back(shortPath(file) + ":" + std::to_string(line) + ": " + what);
  }
}

void expectThrows(std::string_view code, const std::function<void()>& run, const char* file,
                  int line, const char* text) {
  try {
    run();
  } catch (const Error& error) {
    expect(code == error.code(), file, line,
           std::string(text) + " threw " + error.code() + " (" + error.what() + "), not " +
               std::string(code));
    return;
  }
  noteFailed(file, line, std::string(text) + " threw nothing instead of " + std::string(code));
}

void runTests(int argc, char** argv) {
  bool list = false;
  std::vector<std::string> filters;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--list") == 0) {
      list = true;
    } else {
      filters.emplace_back(argv[i]);
    }
  }
  std::stable_sort(cases().begin(), cases().end(),
                   [](const Case& a, const Case& b) { return std::strcmp(a.file, b.file) < 0; });
  long done = 0;
  for (const Case& test : cases()) {
    const auto wanted = [&](const std::string& f) {
      return test.name.find(f) != std::string::npos ||
             shortPath(test.file).find(f) != std::string::npos;
    };
    if (!filters.empty() && std::none_of(filters.begin(), filters.end(), wanted)) continue;
    ++done;
    if (list) {
      std::printf("%s\n", test.name.c_str());
    } else {
      report(test);
    }
  }
  if (!list) std::printf("{\"done\":%ld}\n", done);
}

}  // namespace baton::test
