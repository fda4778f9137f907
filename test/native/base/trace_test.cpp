// SPDX-License-Identifier: Apache-2.0
// Traces of threads that note, flush and end at once; the file at every moment at which a process
// could be killed.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "base/threads.h"
#include "base/trace.h"
#include "base/trace_file.h"
#include "check.h"
#include "model/temporary_folder.h"

using namespace baton;
using namespace baton::test;

namespace {

std::string textOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// How many events the text holds; -1 where it does not parse.
int eventsOf(const std::string& text) {
  JsonFault fault;
  const std::optional<Json> json = parseJson(text, fault);
  return json && json->array() != nullptr ? static_cast<int>(json->array()->size()) : -1;
}

// A number of a field that every complete event has.
double field(const Json& event, const char* name) {
  const Json* found = event.find(name);
  return found == nullptr ? -1 : found->number().value_or(-1);
}

}  // namespace

TEST("base: a trace file holds whole events after every write, and goes on after its end") {
  const TemporaryFolder folder;
  const std::string path = folder.file("t.json");
  trace::TraceFile file;
  CHECK(!file.open(path));
  CHECK(textOf(path).empty());
  for (int i = 0; i < 240; ++i) {
    file.append("{\"text\":" + trace::quoted(std::string(static_cast<size_t>(i % 300), '"')) + "}");
    if (i % 7 == 0) file.flush();
    const std::string text = textOf(path);
    const int events = std::max(eventsOf(text), eventsOf(text + "]"));
    if (i % 7 == 0) CHECK_EQ(events, i + 1);
    if (!CHECK(events >= 0 && events <= i + 1)) break;
    if (i % 50 != 20) continue;
    file.finish();
    CHECK_EQ(eventsOf(textOf(path)), i + 1);
    if (i % 100 != 20) continue;  // closed and opened again: what is there stays
    file.close();
    CHECK(file.open(path));
  }
  file.finish();
  CHECK_EQ(eventsOf(textOf(path)), 240);
  file.close();
  // Somebody else's bytes are no trace to go on with.
  std::ofstream(path) << "other";
  CHECK(!file.open(path));
  CHECK(textOf(path).empty());
  trace::TraceFile second;
  CHECK_THROWS("IO", second.open(path));  // locked
  CHECK_THROWS("IO", second.open(folder.file("absent/t.json")));
}

TEST("base: scopes of many threads and of a pool's workers, while others flush") {
  const TemporaryFolder folder;
  const std::string path = folder.file("t.json");
  constexpr int kThreads = 3, kScopes = 2000;
  auto group = trace::join(path, "a \"model\"");
  CHECK(trace::on());
  CHECK_THROWS("OPTION_INVALID", trace::join(folder.file("other.json"), "b"));
  std::vector<std::thread> threads;
  std::atomic<bool> done{false};
  std::thread flusher([&] {
    while (!done) trace::flush();
  });
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&group] {
      const trace::ThreadLine line(group, "engine");
      ThreadPool pool(2);
      for (int i = 0; i < kScopes / 2; ++i) {
        const trace::Scope outer("outer", "index", i);
        const trace::Scope inner("inner", [] { return Cost{2, 16, 8, 0}; });
        pool.run([](int) {});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  done = true;
  flusher.join();
  trace::leave(*group);
  trace::leave(*group);
  CHECK(!trace::on());
  JsonFault fault;
  const std::optional<Json> json = parseJson(textOf(path), fault);
  REQUIRE(json && json->array() != nullptr);
  int scopes = 0, shares = 0;
  double rows = 0;
  std::set<double> lines;
  for (const Json& event : *json->array()) {
    if (*event.find("ph")->text() != "X" || *event.find("name")->text() == "trace write") continue;
    lines.insert(field(event, "tid"));
    const Json* found = event.find("args")->find("rows");
    rows += found == nullptr ? 0 : found->number().value_or(0);
    (event.find("args")->object()->empty() ? shares : scopes) += 1;
  }
  CHECK_EQ(scopes, kThreads * kScopes);
  CHECK_EQ(shares, kThreads * kScopes / 2);
  CHECK_EQ(rows, double(kThreads * kScopes));  // two of every inner one
  CHECK_EQ(lines.size(), size_t{2 * kThreads});
}

TEST("base: without a trace, and on threads without a line, scopes note nothing") {
  CHECK(!trace::on());
  bool counted = false;
  const auto cost = [&] {
    counted = true;
    return Cost{};
  };
  {
    const trace::Scope scope("off", cost);
  }
  CHECK(trace::current() == nullptr);
  const TemporaryFolder folder;
  auto group = trace::join(folder.file("t.json"), "a");
  {
    const trace::Scope scope("no line", cost);
  }
  CHECK(!counted);
  CHECK(trace::current() == nullptr);
  group.reset();
  CHECK(!trace::on());
  CHECK_EQ(eventsOf(textOf(folder.file("t.json"))), 1);  // the model's name
}
