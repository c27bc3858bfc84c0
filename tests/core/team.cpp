#include <metalqr/core/team.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "support.hpp"

namespace {

using metalqr::OrderedSum;
using metalqr::Shard;

// Of all sizes and both signs, so that every order of addition rounds differently.
std::vector<double> numbers(std::size_t count) {
  metalqr::Stream stream = test::stream(31, count);
  std::vector<double> result(count);
  for (double& x : result) x = stream.normal() * std::exp(8 * stream.normal());
  return result;
}

OrderedSum<double> part(const std::vector<double>& x, std::size_t first, std::size_t end) {
  OrderedSum<double> sum(0, first);
  for (std::size_t i = first; i < end; ++i) sum.item([&](double& block) { block += x[i]; });
  sum.close();
  return sum;
}

// By its definition, top down: blocks first ... first + 2^level - 1.
double tree(const std::vector<double>& x, std::size_t level, std::size_t first) {
  const std::size_t blocks = (x.size() + 15) / 16;
  if (level == 0) {
    double sum = 0;
    for (std::size_t i = 16 * first; i < std::min(16 * first + 16, x.size()); ++i) sum += x[i];
    return sum;
  }
  const std::size_t middle = first + (std::size_t{1} << (level - 1));
  const double left = tree(x, level - 1, first);
  return middle < blocks ? left + tree(x, level - 1, middle) : left;
}

}  // namespace

TEST_CASE("shards are whole blocks, in the order of the ranks, and as even as they can be") {
  for (const std::size_t total : std::vector<std::size_t>{0, 1, 5, 16, 17, 37, 100, 1000, 20000}) {
    for (int ranks = 1; ranks <= 9; ++ranks) {
      std::size_t next = 0;
      std::size_t least = total;
      std::size_t most = 0;
      for (int r = 0; r < ranks; ++r) {
        const Shard shard = metalqr::shard_of(total, ranks, r);
        CHECK(shard.first == next);
        next += shard.count;
        CHECK((next % metalqr::reduction_block == 0 || next == total));
        const std::size_t blocks = (shard.count + 15) / 16;
        least = std::min(least, blocks);
        most = std::max(most, blocks);
      }
      CHECK(next == total);
      CHECK(most <= least + 1);
    }
  }
  CHECK(metalqr::shard_of(5, 4, 0) == Shard{0, 5});
  const auto refused = [](int ranks, int rank) {
    return test::message_of<metalqr::InvalidOption>([&] { metalqr::shard_of(10, ranks, rank); });
  };
  CHECK(refused(0, 0) == "ranks: expected at least 1, got 0");
  CHECK(refused(2, 2) == "rank: expected a number from 0 to ranks - 1, got 2");
  CHECK(refused(2, -1) == "rank: expected a number from 0 to ranks - 1, got -1");
}

TEST_CASE("a sum is that of blocks in order, by a binary tree over their numbers") {
  CHECK(part({}, 0, 0).total() == 0);
  for (const std::size_t count : std::vector<std::size_t>{1, 2, 15, 16, 17, 32, 33, 80, 112, 257, 1000}) {
    const auto x = numbers(count);
    CHECK(part(x, 0, count).total() == tree(x, 7, 0));
  }
}

TEST_CASE("a sum is bitwise the same for every partition into blocks, of few nodes each") {
  metalqr::Stream stream = test::stream(32);
  int other_orders = 0;
  for (const std::size_t count : std::vector<std::size_t>{1, 16, 40, 333, 4096, 20000}) {
    const auto x = numbers(count);
    const double whole = part(x, 0, count).total();
    double in_order = 0;
    for (const double value : x) in_order += value;
    other_orders += in_order != whole ? 1 : 0;
    const std::size_t blocks = (count + 15) / 16;
    for (int trial = 0; trial < 50; ++trial) {
      OrderedSum<double> joined(0);
      for (std::size_t block = 0; block < blocks;) {
        const auto length =
            1 + static_cast<std::size_t>(stream.uniform() * static_cast<double>(trial < 25 ? 4 : blocks));
        const std::size_t end = std::min(block + length, blocks);
        const auto own = part(x, 16 * block, std::min(16 * end, count));
        const double most = 2 * std::log2(static_cast<double>(end - block)) + 2;
        CHECK(static_cast<double>(own.nodes().size()) <= most);
        for (const auto& node : own.nodes()) joined.append(node);
        block = end;
      }
      CHECK(joined.total() == whole);
    }
  }
  CHECK(other_orders > 2);
}

TEST_CASE("one process is a team") {
  static_assert(metalqr::Team<metalqr::Alone>);
  metalqr::Alone team(20);
  CHECK(team.shard() == Shard{0, 20});
  CHECK(team.total() == 20);
  const auto x = numbers(20);
  CHECK(team.sum(0.0, [&] { return part(x, 0, 20); }) == part(x, 0, 20).total());
  CHECK(team.any([] { return true; }));
  CHECK_FALSE(team.any([] { return false; }));
  CHECK_THROWS_AS(team.together([] { throw std::logic_error("mine"); }), std::logic_error);
}
