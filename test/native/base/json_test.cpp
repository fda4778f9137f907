// SPDX-License-Identifier: Apache-2.0
// JSON: every kind of value, and every way to be none.
#include "base/json.h"

#include "check.h"

using namespace baton;
using namespace baton::test;

namespace {

Json parsed(const std::string& text) {
  JsonFault fault;
  const auto json = parseJson(text, fault);
  CHECK(json.has_value());
  return json.value_or(Json{});
}

void refused(const std::string& text, size_t offset) {
  JsonFault fault;
  const bool ok = parseJson(text, fault).has_value();
  expect(!ok, __FILE__, __LINE__, "taken: " + text);
  CHECK_EQ(fault.offset, offset);
  CHECK(fault.what[0] != '\0');
}

}  // namespace

TEST("json: values of every kind") {
  const Json json = parsed(
      " {\"a\": [1, -2, 2.5e1, true, false, null], \"b\": {\"c\": \"d\"}, \"big\": "
      "9223372036854775807, \"bigger\": 9223372036854775808} ");
  const Json::Array& a = *json.find("a")->array();
  REQUIRE(a.size() == 6);
  CHECK_EQ(*a[0].count(), 1u);
  CHECK(!a[1].count());
  CHECK_EQ(*a[1].number(), -2.0);
  CHECK_EQ(*a[2].number(), 25.0);
  CHECK(!a[2].count());
  CHECK(*a[3].boolean() && !*a[4].boolean() && a[5].isNull());
  CHECK_EQ(*json.find("b")->find("c")->text(), "d");
  CHECK_EQ(*json.find("big")->count(), 9223372036854775807u);
  CHECK(!json.find("bigger")->count());
  CHECK_EQ(*json.find("bigger")->number(), 9223372036854775808.0);
  CHECK(json.find("none") == nullptr && json.find("a")->find("x") == nullptr);
  CHECK(parsed("[]").array()->empty());
  CHECK(parsed("{ }").object()->empty());
}

TEST("json: escapes") {
  CHECK_EQ(*parsed(R"("\"\\\/\b\f\n\r\t")").text(), "\"\\/\b\f\n\r\t");
  CHECK_EQ(*parsed(R"("\u0041\u00e9\u2603\ud83d\ude00")").text(),
           "A\xc3\xa9\xe2\x98\x83\xf0\x9f\x98\x80");
  CHECK_EQ(*parsed("\"\xc3\xa9\"").text(), "\xc3\xa9");
  CHECK_EQ(parsed(R"("\u0000")").text()->size(), 1u);
}

TEST("json: what is none is refused at its byte") {
  refused("", 0);
  refused("   ", 3);
  refused("{", 1);
  refused("[1", 2);
  refused("[1,]", 3);
  refused("{\"a\"}", 4);
  refused("{\"a\":1,}", 7);
  refused("{a:1}", 1);
  refused("[1] 2", 4);
  refused("tru", 0);
  refused("01", 2);
  refused("-", 1);
  refused("1.e", 3);
  refused("1-1", 3);
  refused("\"a", 2);
  refused("\"a\nb\"", 2);
  refused(R"("\x")", 2);
  refused(R"("\u12")", 3);
  refused(R"("\u12g4")", 3);
  refused(R"("\ud83d")", 7);
  refused(R"("\ude00")", 7);
  refused(R"("\ud83d\u0041")", 13);
  refused(std::string("\0", 1), 0);
}

TEST("json: depth is bounded") {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  JsonFault fault;
  CHECK(parseJson(nested(64), fault).has_value());
  CHECK(!parseJson(nested(66), fault).has_value());
  CHECK(!parseJson(std::string(1 << 20, '['), fault).has_value());
  CHECK_EQ(std::string(fault.what), "nested too deeply");
}
