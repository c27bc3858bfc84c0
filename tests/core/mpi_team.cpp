#include <metalqr/core/mpi_team.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "support.hpp"

namespace {

namespace mpi = metalqr::mpi;
using metalqr::OrderedSum;
using metalqr::Shard;

// A pair of numbers that writes and reads itself.
struct Pair {
  double sum = 0;
  float other = 0;

  Pair& operator+=(const Pair& x) {
    sum += x.sum;
    other += x.other;
    return *this;
  }
  void write(metalqr::ByteWriter& out) const {
    out.put(sum);
    out.put(other);
  }
  void read(metalqr::ByteReader& in) {
    sum = in.get<double>();
    other = in.get<float>();
  }
};

double number(std::size_t i) {
  metalqr::Stream stream = test::stream(33, i);
  return stream.normal() * std::exp(8 * stream.normal());
}

template <class T, class Make>
OrderedSum<T> part(const Shard& shard, const Make& make) {
  OrderedSum<T> sum(T{}, shard.first);
  for (std::size_t i = shard.first; i < shard.first + shard.count; ++i) {
    sum.item([&](T& block) { block += make(i); });
  }
  return sum;
}

}  // namespace

TEST_CASE("a sum over the ranks is bitwise that of one process") {
  static_assert(metalqr::Team<mpi::RankTeam>);
  mpi::Communicator ranks;
  for (const std::size_t total : std::vector<std::size_t>{0, 1, 5, 16, 17, 37, 100, 4000}) {
    mpi::RankTeam team(ranks, metalqr::shard_of(total, ranks.size(), ranks.rank()).count);
    CHECK(team.shard().count == metalqr::shard_of(total, ranks.size(), ranks.rank()).count);
    if (team.shard().count > 0) {
      CHECK(team.shard() == metalqr::shard_of(total, ranks.size(), ranks.rank()));
    }
    CHECK(team.total() == total);
    const Shard all{0, total};
    CHECK(team.sum(0.0, [&] { return part<double>(team.shard(), number); }) ==
          part<double>(all, number).total());
    const auto pair = [](std::size_t i) { return Pair{number(i), static_cast<float>(number(i + 7))}; };
    const Pair got = team.sum(Pair{}, [&] { return part<Pair>(team.shard(), pair); });
    const Pair want = part<Pair>(all, pair).total();
    CHECK(got.sum == want.sum);
    CHECK(got.other == want.other);
  }
}

TEST_CASE("shards that the ranks choose may be uneven, but not split a block") {
  mpi::Communicator ranks;
  const auto rank = static_cast<std::size_t>(ranks.rank());
  const bool last = ranks.rank() == ranks.size() - 1;
  mpi::RankTeam team(ranks, last ? 3 : 16 * (1 - rank % 2) * (rank + 2));
  const double whole = part<double>({0, team.total()}, number).total();
  CHECK(team.sum(0.0, [&] { return part<double>(team.shard(), number); }) == whole);
  if (ranks.size() == 1) return;
  CHECK(test::message_of<metalqr::InvalidOption>([&] { mpi::RankTeam(ranks, rank == 0 ? 20 : 16); }) ==
        "shard: expected a multiple of 16 items on each rank but the last with any (see shard_of), got 20 up "
        "to "
        "rank 0");
  CHECK(mpi::RankTeam(ranks, rank == 0 ? 20 : 0).total() == 20);
}

TEST_CASE("what is thrown in one rank's part of a sum is thrown on all") {
  mpi::Communicator ranks;
  mpi::RankTeam team(ranks, 16);
  const auto failing = ranks.size() - 1;
  const auto step = [&] {
    team.sum(0.0, [&]() -> OrderedSum<double> {
      if (ranks.rank() == failing) throw metalqr::NotFinite("gradient");
      return part<double>(team.shard(), number);
    });
  };
  if (ranks.rank() == failing) {
    CHECK(test::message_of<metalqr::NotFinite>(step) == "gradient");
  } else {
    CHECK(test::message_of<mpi::RemoteError>(step) == "rank " + std::to_string(failing) + ": gradient");
  }
  CHECK(team.any([&] { return ranks.rank() == failing; }));
  CHECK_FALSE(team.any([] { return false; }));
  team.together([] {});
}

TEST_CASE("what a rank sends for a sum grows with the logarithm of its items") {
  mpi::Communicator ranks;
  const auto sent = [&](std::size_t total) {
    mpi::RankTeam team(ranks, metalqr::shard_of(total, ranks.size(), ranks.rank()).count);
    const mpi::Traffic before = ranks.traffic();
    team.sum(0.0, [&] { return part<double>(team.shard(), [](std::size_t) { return 1.0; }); });
    return ranks.traffic().since(before).sent_bytes;
  };
  const std::uint64_t few = sent(1000);
  const std::uint64_t many = sent(256000);
  CHECK((ranks.size() == 1) == (few == 0));
  // Eight more levels, of at most two nodes of 24 bytes each.
  CHECK(many <= few + 8 * 2 * 24);
}
