#include <metalqr/federated/krum.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "estimates.hpp"

namespace {

namespace fed = metalqr::federated;
using metalqr::InvalidOption;
using test::Backend;
using test::combined;
using test::Dense;
using test::Estimates;
using test::estimates_of;
using test::Index;

using Numbers = std::vector<long double>;

static_assert(fed::Combiner<fed::Krum, Backend>);
static_assert(fed::Combiner<fed::Krum, test::Fixed>);

/// Scores by their definition, in long double.
std::vector<long double> scores_of(const Estimates<>& list, std::size_t corrupted) {
  std::vector<long double> scores;
  for (std::size_t i = 0; i < list.size(); ++i) {
    std::vector<long double> squares;
    for (std::size_t j = 0; j < list.size(); ++j) {
      if (i == j) continue;
      const Dense difference = test::dense(list[i].estimate) - test::dense(list[j].estimate);
      squares.push_back(test::inner(difference, difference));
    }
    std::sort(squares.begin(), squares.end());
    long double score = 0;
    for (std::size_t k = 0; k < list.size() - corrupted - 2; ++k) score += squares[k];
    scores.push_back(score);
  }
  return scores;
}

/// Position in the list of an estimate; the list's length if it is not there.
std::size_t position(const Dense& X, const Estimates<>& list) {
  std::size_t k = 0;
  while (k < list.size() && test::dense(list[k].estimate).entries != X.entries) ++k;
  return k;
}

}  // namespace

TEST_CASE("Krum takes the estimate with the closest neighbours") {
  // Three neighbours of six with one corrupted. Scores: 0: 1 + 9 + 25 (1, 3, 5); 1: 1 + 4 + 16; 3: 4 + 4 + 9;
  // 5: 4 + 16 + 25 (3, 1, 0); 11: 36 + 64 + 100; the far one.
  const auto list = estimates_of({{0}, {1}, {3}, {5}, {11}, {-400}});
  CHECK(combined(fed::Krum{.corrupted = 1}, list).entries == Numbers{3});
  // The next is 1, then 0.
  CHECK(combined(fed::Krum{.corrupted = 1, .selected = 2}, list).entries == Numbers{2});
  CHECK(combined(fed::Krum{.corrupted = 1, .selected = 3}, list).entries[0] == Approx(4.0 / 3));
  // Weights count in the mean alone: (4 * 3 + 1)/5.
  const auto weighted = estimates_of({{0}, {1}, {3}, {5}, {11}, {-400}}, {9, 1, 4, 9, 9, 9});
  CHECK(combined(fed::Krum{.corrupted = 1}, weighted).entries == Numbers{3});
  CHECK(combined(fed::Krum{.corrupted = 1, .selected = 2}, weighted).entries[0] == Approx(13.0 / 5));
  // Nobody is corrupted, and four neighbours are compared: 3 still.
  CHECK(combined(fed::Krum{}, list).entries == Numbers{3});
  // All of them: the mean.
  CHECK(combined(fed::Krum{.selected = 6}, list).entries[0] == Approx(-380.0 / 6));
}

TEST_CASE("Krum equals the rule written by hand") {
  for (std::uint64_t trial = 0; trial < 100; ++trial) {
    metalqr::Stream stream = test::stream(1, trial);
    const std::size_t count = 5 + trial % 11;
    const std::size_t corrupted = static_cast<std::size_t>(stream.bits() % ((count - 3) / 2 + 1));
    const std::size_t selected = 1 + static_cast<std::size_t>(stream.bits() % (count - corrupted));
    const auto list = test::random_estimates(count, stream, true);
    const std::vector<long double> scores = scores_of(list, corrupted);
    std::vector<std::pair<long double, std::size_t>> order;
    for (std::size_t i = 0; i < count; ++i) order.emplace_back(scores[i], i);
    std::sort(order.begin(), order.end());
    // With a single neighbour the two closest ones have the same score: see the test of ties.
    if (count - corrupted - 2 == 1 && selected % 2 == 1) continue;
    Dense sum(2, 4);
    long double total = 0;
    for (std::size_t k = 0; k < selected; ++k) {
      const auto& vote = list[order[k].second];
      sum = sum + static_cast<long double>(vote.weight) * test::dense(vote.estimate);
      total += vote.weight;
    }
    const fed::Krum combiner{.corrupted = static_cast<int>(corrupted),
                             .selected = static_cast<int>(selected)};
    CHECK(test::relative_error(combined(combiner, list), (1 / total) * sum) < 1e-14);
  }
}

TEMPLATE_TEST_CASE("Krum is invariant as it should", "", Backend, test::Fixed) {
  for (const bool weighted : {false, true}) {
    test::check_invariances<TestType>(fed::Krum{.corrupted = 1}, weighted, 2, 1e-13);
    test::check_invariances<TestType>(fed::Krum{.corrupted = 1, .selected = 3}, weighted, 3, 1e-13);
  }
}

TEST_CASE("equal scores are ordered by entries, whatever the order of the list") {
  // One neighbour each: 0 and 1, and 7 and 8, are equally close.
  const fed::Krum combiner{.corrupted = 0};
  CHECK(combined(combiner, estimates_of({{8, 0}, {7, 0}, {3, 0}})).entries == Numbers{7, 0});
  CHECK(combined(combiner, estimates_of({{3, 0}, {7, 0}, {8, 0}})).entries == Numbers{7, 0});
  CHECK(combined(combiner, estimates_of({{3, 0}, {7, 5}, {7, 4}})).entries == Numbers{7, 4});
  // Four have the score 0 + 1 + 1; of the three that are taken, 1 and 1 and 2, the last is the heavier 2.
  std::vector<std::size_t> order{0, 1, 2, 3, 4};
  const std::vector<std::vector<double>> rows{{1}, {1}, {2}, {2}, {100}};
  const std::vector<double> weights{1, 1, 2, 4, 9};
  do {
    std::vector<std::vector<double>> some_rows;
    std::vector<double> some_weights;
    for (const std::size_t k : order) {
      some_rows.push_back(rows[k]);
      some_weights.push_back(weights[k]);
    }
    const auto list = estimates_of(some_rows, some_weights);
    CHECK(combined(combiner, list).entries == Numbers{1});
    CHECK(combined(fed::Krum{.selected = 3}, list).entries[0] ==
          Approx((1 + 1 + 4 * 2) / 6.0).epsilon(1e-14));
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("Krum never takes a far estimate while its condition holds, and several never do") {
  for (std::uint64_t trial = 0; trial < 500; ++trial) {
    metalqr::Stream stream = test::stream(4, trial);
    const int corrupted = 1 + static_cast<int>(trial % 6);
    const std::size_t count =
        static_cast<std::size_t>(2 * corrupted + 3) + static_cast<std::size_t>(stream.bits() % 5);
    const std::size_t honest = count - static_cast<std::size_t>(corrupted);
    auto list = test::random_estimates(count, stream, true);
    // Far away, each on its own or, in every other trial, all at one place, where they support each other.
    const Dense place = test::random_matrix(2, 4, stream);
    for (std::size_t k = honest; k < count; ++k) {
      const double size = std::pow(10.0, stream.uniform(2, trial % 3 == 0 ? 300 : 4));
      const Dense own = test::random_matrix(2, 4, stream);
      list[k].estimate +=
          trial % 2 == 0 ? test::gain(1000 * place) : test::gain((size / test::norm(own)) * own);
    }
    const auto mixed = test::shuffled<Backend>(list, stream);
    CHECK(position(combined(fed::Krum{.corrupted = corrupted}, mixed), list) < honest);
    for (const int selected : {2, static_cast<int>(honest)}) {
      CHECK(test::is_between(combined(fed::Krum{.corrupted = corrupted, .selected = selected}, mixed), list,
                             honest));
    }
  }
  // Without the condition, three that agree win over two that do not.
  const auto lost = estimates_of({{900}, {900}, {900}, {1}, {2}});
  CHECK(combined(fed::Krum{.corrupted = 1}, lost).entries == Numbers{900});
}

TEST_CASE("Krum ranks estimates of any size") {
  for (const double scale : {1e-300, 1.0, 1e300}) {
    const auto list = estimates_of({{0}, {scale}, {3 * scale}, {5 * scale}, {11 * scale}, {-400 * scale}});
    CHECK(combined(fed::Krum{.corrupted = 1}, list).entries == Numbers{3 * scale});
  }
  // Squares of three neighbours: 1 + 4 + 4 at 2, 1 + 1 + 9 at 1; the ends are further apart than the largest
  // number.
  const auto ends = estimates_of({{-1.7e308}, {8}, {1.7e308}, {2}, {1}, {0}, {4}});
  CHECK(combined(fed::Krum{.corrupted = 2}, ends).entries == Numbers{2});
}

TEST_CASE("too few estimates, and bad options of Krum, are refused") {
  CHECK(fed::Krum{}.fewest() == 3);
  CHECK(fed::Krum{.corrupted = 2}.fewest() == 7);
  CHECK(fed::Krum{.corrupted = 2, .selected = 5}.fewest() == 7);
  CHECK(fed::Krum{.corrupted = 2, .selected = 6}.fewest() == 8);
  CHECK(fed::fewest_estimates(fed::Krum{.corrupted = 1}) == 5);
  const auto message = [](const fed::Krum& combiner, const Estimates<>& list) {
    return test::message_of<InvalidOption>([&] { combined(combiner, list); });
  };
  const auto five = estimates_of({{1}, {2}, {3}, {4}, {5}});
  CHECK(combined(fed::Krum{.corrupted = 1, .selected = 4}, five).rows == 1);
  CHECK(message({.corrupted = 2}, five) ==
        "estimates: expected at least 7 of positive weight for corrupted = 2 and selected = 1, got 5");
  CHECK(message({.corrupted = 1, .selected = 5}, five) ==
        "estimates: expected at least 6 of positive weight for corrupted = 1 and selected = 5, got 5");
  CHECK(message({.corrupted = 1}, estimates_of({{1}, {2}, {3}, {4}, {5}}, {1, 1, 0, 1, 1})) ==
        "estimates: expected at least 5 of positive weight for corrupted = 1 and selected = 1, got 4");
  CHECK(message({.corrupted = -1}, five) == "corrupted: expected a number >= 0, got -1");
  CHECK(message({.selected = 0}, five) == "selected: expected at least 1, got 0");
  CHECK(message({}, {}) == "estimates: expected at least one, got none");
}
