// SPDX-License-Identifier: Apache-2.0
// Every tier of the table under every policy: what it gives back is what it was given, or nothing;
// its budget holds; files outlive their owner, serve one at a time, and no damage to them is read.
#include "cache/tiers/tier.h"

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "base/error.h"
#include "base/warnings.h"
#include "check.h"
#include "model/temporary_folder.h"

using namespace baton;
using namespace baton::test;

namespace {

namespace fs = std::filesystem;

constexpr size_t kBlock = 5000;

Digest named(int number) {
  Sha256 hash;
  hash.update(&number, sizeof(number));
  return hash.digest();
}

std::vector<std::byte> bytesOf(int number) {
  std::vector<std::byte> bytes(kBlock);
  std::mt19937 random(static_cast<unsigned>(number));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

struct Place {
  TemporaryFolder folder;

  // `blocks`: that it has room for.
  std::unique_ptr<Tier> open(const char* kind, size_t blocks, const Policy& policy = kLru,
                             const char* scope = "model") const {
    const TierSpec spec{kind, blocks * (kBlock + 128), folder.file("tier")};
    return std::move(openTiers({spec}, {scope, kBlock}, policy).at(0));
  }
};

void put(Tier& tier, int number, Tier::Spill* spill = nullptr) {
  tier.put(named(number), {.uses = 1, .cost = 1, .bytes = double(kBlock)}, bytesOf(number).data(),
           spill);
}

// Of the blocks 0 to `count`: those that are there, each checked.
std::vector<int> whole(Tier& tier, int count) {
  std::vector<int> found;
  for (int number = 0; number < count; ++number) {
    const bool has = tier.has(named(number));
    std::vector<std::byte> bytes(kBlock);
    const bool taken = tier.take(named(number), bytes.data());
    if (taken) CHECK(bytes == bytesOf(number));
    if (taken) CHECK(has);
    if (taken) found.push_back(number);
  }
  return found;
}

std::string fileOf(const Place& place, const char* suffix) {
  for (const auto& entry : fs::directory_iterator(place.folder.file("tier"))) {
    if (entry.path().extension() == suffix) return entry.path().string();
  }
  return "";
}

void flip(const std::string& path, size_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const char was = static_cast<char>(file.get());
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(was ^ 0x10));
}

}  // namespace

TEST("tiers: what is given back is what was given, within the budget, under every policy") {
  for (const TierKind* kind : tierKinds()) {
    for (const Policy* policy : policies()) {
      const Place place;
      const std::unique_ptr<Tier> tier = place.open(kind->name, 8, *policy);
      std::mt19937 random(3);
      for (int round = 0; round < 300; ++round) {
        const int number = static_cast<int>(random() % 20);
        std::vector<std::byte> bytes(kBlock);
        if (random() % 2 == 0) {
          put(*tier, number);
          CHECK(tier->has(named(number)));
        } else if (tier->take(named(number), bytes.data())) {
          CHECK(bytes == bytesOf(number));
        } else {
          CHECK(!tier->has(named(number)));
        }
        CHECK(tier->stats().blocks <= 8);
        CHECK(tier->stats().usedBytes <= tier->stats().budgetBytes);
      }
      CHECK_EQ(tier->stats().damaged, 0u);
      CHECK_EQ(whole(*tier, 20).size(), 8u);
    }
  }
}

TEST("tiers: a run of identities is known up to the first that is missing") {
  const Place place;
  const std::unique_ptr<Tier> tier = place.open("host", 8);
  for (const int number : {0, 1, 2, 4}) put(*tier, number);
  std::vector<Digest> identities;
  for (int number = 0; number < 6; ++number) identities.push_back(named(number));
  CHECK_EQ(tier->known(identities.data(), 6), 3u);
  CHECK_EQ(tier->known(identities.data() + 4, 2), 1u);
  CHECK_EQ(tier->known(identities.data(), 2), 2u);
}

TEST("tiers: what one gives up goes to the next before it is written over") {
  const Place place;
  const std::unique_ptr<Tier> host = place.open("host", 3), disk = place.open("disk", 10);
  class Next : public Tier::Spill {
   public:
    explicit Next(Tier& tier) : tier_(tier) {}
    void spill(const Digest& identity, const BlockUse& use, const std::byte* block) override {
      tier_.put(identity, use, block, nullptr);
    }

   private:
    Tier& tier_;
  } next(*disk);
  for (int number = 0; number < 8; ++number) put(*host, number, &next);
  CHECK(whole(*host, 8) == (std::vector<int>{5, 6, 7}));
  CHECK(whole(*disk, 8) == (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST("tiers: files outlive their owner, with the order of use") {
  const Place place;
  {
    const std::unique_ptr<Tier> tier = place.open("disk", 4);
    for (int number = 0; number < 4; ++number) put(*tier, number);
    std::vector<std::byte> bytes(kBlock);
    CHECK(tier->take(named(0), bytes.data()));
  }
  const std::unique_ptr<Tier> tier = place.open("disk", 4);
  CHECK_EQ(tier->stats().blocks, 4u);
  put(*tier, 9);  // in the place of 1, which nobody has used since
  CHECK(whole(*tier, 10) == (std::vector<int>{0, 2, 3, 9}));
}

TEST("tiers: a smaller budget keeps what fits, and the files shrink") {
  const Place place;
  {
    const std::unique_ptr<Tier> tier = place.open("disk", 8);
    for (int number = 0; number < 8; ++number) put(*tier, number);
  }
  const std::unique_ptr<Tier> tier = place.open("disk", 3);
  CHECK(whole(*tier, 8) == (std::vector<int>{0, 1, 2}));
  CHECK(fs::file_size(fileOf(place, ".blocks")) <= 3 * kBlock);
}

TEST("tiers: files have one owner at a time") {
  const Place place;
  std::unique_ptr<Tier> tier = place.open("disk", 4);
  const auto second = [&] { return place.open("disk", 4); };
  CHECK_THROWS(code::kIo, second());
  place.open("disk", 4, kLru, "another model");  // has files of its own
  tier.reset();
  CHECK_EQ(second()->stats().blocks, 0u);
}

TEST("tiers: a damaged block is not given back, whichever byte it is") {
  for (const size_t at : {size_t{0}, kBlock / 2, kBlock - 1}) {
    const Place place;
    const std::unique_ptr<Tier> tier = place.open("disk", 4);
    for (int number = 0; number < 3; ++number) put(*tier, number);
    flip(fileOf(place, ".blocks"), kBlock + at);
    CHECK(whole(*tier, 3) == (std::vector<int>{0, 2}));
    CHECK_EQ(tier->stats().damaged, 1u);
    put(*tier, 1);  // its slot is free again
    CHECK(whole(*tier, 3) == (std::vector<int>{0, 1, 2}));
  }
}

TEST("tiers: no damage to an index gives a wrong block") {
  for (size_t at = 0; at < 4 * 128; at += 3) {
    const Place place;
    {
      const std::unique_ptr<Tier> tier = place.open("disk", 4);
      for (int number = 0; number < 3; ++number) put(*tier, number);
    }
    flip(fileOf(place, ".index"), at);
    const std::unique_ptr<Tier> tier = place.open("disk", 4);
    const size_t left = whole(*tier, 3).size();  // checks the bytes
    CHECK(at < 128 ? left == 0 || left == 3 : left >= 2);
  }
}

TEST("tiers: files that were cut off lose what is missing and nothing else") {
  for (const size_t bytes : {size_t{0}, size_t{1}, kBlock, 2 * kBlock + 7}) {
    const Place place;
    {
      const std::unique_ptr<Tier> tier = place.open("disk", 4);
      for (int number = 0; number < 3; ++number) put(*tier, number);
    }
    fs::resize_file(fileOf(place, ".blocks"), bytes);
    std::unique_ptr<Tier> tier = place.open("disk", 4);
    CHECK_EQ(whole(*tier, 3).size(), bytes / kBlock);
    tier.reset();
    fs::resize_file(fileOf(place, ".index"), std::min<size_t>(bytes, 300));
    tier = place.open("disk", 4);
    CHECK(whole(*tier, 3).size() <= bytes / kBlock);
  }
}

TEST("tiers: files of other contents make room, the longest unused first, but not those in use") {
  const Place place;
  const auto fill = [&](const char* scope, int count) {
    std::unique_ptr<Tier> tier = place.open("disk", 11, kLru, scope);
    for (int number = 0; number < count; ++number) put(*tier, number);
    return tier;
  };
  fill("old", 4).reset();
  fs::last_write_time(fileOf(place, ".index"),
                      fs::file_time_type::clock::now() - std::chrono::hours(1));
  fill("newer", 3).reset();
  const std::unique_ptr<Tier> used = fill("used", 2);
  const std::unique_ptr<Tier> tier = fill("mine", 5);  // beside 2 and 3, but not 4 more
  CHECK_EQ(whole(*tier, 9).size(), 5u);
  CHECK_EQ(whole(*used, 9).size(), 2u);
  CHECK_EQ(place.open("disk", 11, kLru, "old")->stats().blocks, 0u);
  CHECK_EQ(place.open("disk", 11, kLru, "newer")->stats().blocks, 3u);
}

TEST("tiers: a disk that takes no more ends writing with one warning; what is there is read") {
  const Place place;
  const std::unique_ptr<Tier> tier = place.open("disk", 100);
  for (int number = 0; number < 4; ++number) put(*tier, number);
  takeWarnings();
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4 * kBlock + 100, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  for (int number = 4; number < 8; ++number) put(*tier, number);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(whole(*tier, 8) == (std::vector<int>{0, 1, 2, 3}));
  CHECK(!tier->stats().writes);
  const std::vector<Error> warnings = takeWarnings();
  REQUIRE(warnings.size() == 1);
  CHECK(std::string(warnings[0].code()) == code::kTierEnded);
}

TEST("tiers: a budget of less than a block, and a folder that cannot be made, are refused") {
  const Place place;
  const auto open = [&](const char* kind, size_t bytes, const std::string& folder) {
    return openTiers({{kind, bytes, folder}}, {"model", kBlock}, kLru);
  };
  CHECK_THROWS(code::kOptionInvalid, open("host", kBlock - 1, ""));
  const std::string file = place.folder.file("file");
  std::ofstream(file) << "x";
  CHECK_THROWS(code::kIo, open("disk", 10 * kBlock, file + "/below"));
}
