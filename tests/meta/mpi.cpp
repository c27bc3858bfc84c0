#include <metalqr/meta/mpi.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "setting.hpp"

namespace {

namespace meta = metalqr::meta;
namespace mpi = metalqr::mpi;
namespace zo = metalqr::zeroth_order;
using meta::Options;
using meta::Order;
using metalqr::Shard;
using test::Boeing;
using test::BoeingTasks;

// Exact costs and rollouts under one type, so that training on oracles is compiled once.
using Oracle = std::function<double(const Boeing::Gain&, const metalqr::StreamKey&)>;
using OracleFleet = zo::OracleFleet<Boeing, Oracle>;
using ModelFleet = zo::ModelFleet<Boeing>;
using Result = meta::Result<Boeing>;
using State = meta::State<Boeing>;
using Watch = std::function<bool(const meta::Info<Boeing>&)>;

const Watch nobody = [](const meta::Info<Boeing>&) { return false; };

// The tasks first ... first + count - 1 of a fleet, drawn on their own.
BoeingTasks tasks_of(const Shard& shard) {
  if (shard.count == 0) return {};
  return metalqr::systems::perturbed_family(test::nominal(test::Start::code),
                                            {.count = static_cast<metalqr::Index>(shard.count),
                                             .level = 0.01,
                                             .relative_size = 0.4,
                                             .must_be_stabilised_by = test::first_gain(),
                                             .first = static_cast<metalqr::Index>(shard.first)},
                                            51)
      .tasks;
}

enum class Known { models, exact_costs, rollouts };

std::vector<Oracle> oracles_of(const BoeingTasks& tasks, Known known) {
  std::vector<Oracle> oracles;
  for (const auto& task : tasks) {
    if (known == Known::exact_costs) {
      oracles.emplace_back([plant = zo::ExactCost<Boeing>(task)](
                               const Boeing::Gain& K, const metalqr::StreamKey&) { return plant(K); });
    } else {
      oracles.emplace_back(zo::RolloutCost<Boeing>(
          task, {test::Boeing::zero_state(4), test::Boeing::identity_like(task.Q())}, {.horizon = 60}));
    }
  }
  return oracles;
}

// A fleet, or none, by what is known of it.
class AnyFleet {
 public:
  AnyFleet(const Shard& shard, Known known, const Options& options)
      : known_(known), tasks_(tasks_of(shard)), oracles_(oracles_of(tasks_, known)) {
    if (tasks_.empty()) return;
    if (known == Known::models) models_.emplace(tasks_);
    if (known != Known::models) plants_.emplace(std::span<const Oracle>(oracles_), options.estimator);
  }
  /// Calls `run` with a pointer to the fleet.
  template <class Run>
  Result with(const Run& run) const {
    if (known_ == Known::models) return run(models_ ? &*models_ : nullptr);
    return run(plants_ ? &*plants_ : nullptr);
  }

 private:
  Known known_;
  BoeingTasks tasks_;
  std::vector<Oracle> oracles_;
  std::optional<ModelFleet> models_;
  std::optional<OracleFleet> plants_;
};

// Either on one process, or, with their own tasks, on all ranks.
Result run_alone(std::size_t total, Known known, State& state, const Options& options,
                 const Watch& watch = nobody) {
  return AnyFleet({0, total}, known, options).with([&](const auto* fleet) {
    return meta::resume(*fleet, state, options, watch);
  });
}
Result run_on(mpi::Communicator& ranks, std::size_t total, Known known, State& state, const Options& options,
              const Watch& watch = nobody) {
  const Shard own = metalqr::shard_of(total, ranks.size(), ranks.rank());
  return AnyFleet(own, known, options).with([&](const auto* fleet) {
    return meta::resume(ranks, fleet, state, options, watch);
  });
}

State start() {
  State state;
  state.descent.K = test::first_gain();
  return state;
}

// Bitwise, where not assessed costs are NaN.
bool same_number(double x, double y) {
  return x == y || (x != x && y != y);
}

bool same_calls(const zo::OracleCalls& x, const zo::OracleCalls& y) {
  return x.probes == y.probes && x.base == y.base && x.assessments == y.assessments &&
         x.curvature == y.curvature;
}

void check_same(const Result& got, const Result& want) {
  CHECK(test::same(got.gain, want.gain));
  CHECK(got.status == want.status);
  CHECK(got.iterations == want.iterations);
  CHECK(same_calls(got.calls, want.calls));
  CHECK(got.guard_refusals == want.guard_refusals);
  CHECK(got.skipped_inner_points == want.skipped_inner_points);
  CHECK(got.reduced_inner_steps == want.reduced_inner_steps);
  CHECK(got.unstable_probes == want.unstable_probes);
  REQUIRE(got.history.size() == want.history.size());
  for (std::size_t i = 0; i < got.history.size(); ++i) {
    const auto& x = got.history[i];
    const auto& y = want.history[i];
    CHECK(test::same(x.gain, y.gain));
    CHECK((x.iteration == y.iteration && x.step == y.step && x.trials == y.trials));
    CHECK((x.inner_step == y.inner_step && x.direction_norm == y.direction_norm));
    CHECK(same_calls(x.calls, y.calls));
    CHECK(same_number(x.mean_cost, y.mean_cost));
    CHECK(same_number(x.worst_cost, y.worst_cost));
  }
}

template <class T>
std::vector<T> cut(const std::vector<T>& list, const Shard& shard) {
  if (list.empty()) return {};
  const auto first = list.begin() + static_cast<std::ptrdiff_t>(shard.first);
  return {first, first + static_cast<std::ptrdiff_t>(shard.count)};
}

// The part of a state that belongs to a shard.
State cut(const State& whole, const Shard& shard) {
  State state = whole;
  state.start_costs = cut(whole.start_costs, shard);
  state.costs = cut(whole.costs, shard);
  state.curvature_directions = cut(whole.curvature_directions, shard);
  return state;
}

void check_same(const State& got, const State& want) {
  CHECK(test::same(got.descent.K, want.descent.K));
  CHECK(got.descent.iteration == want.descent.iteration);
  CHECK(got.descent.last_step == want.descent.last_step);
  CHECK(got.descent.refused == want.descent.refused);
  CHECK(got.descent.at.value == want.descent.at.value);
  REQUIRE(got.descent.pairs.size() == want.descent.pairs.size());
  for (std::size_t i = 0; i < got.descent.pairs.size(); ++i) {
    CHECK(test::same(got.descent.pairs[i].step, want.descent.pairs[i].step));
    CHECK(test::same(got.descent.pairs[i].change, want.descent.pairs[i].change));
  }
  CHECK(got.inner_step == want.inner_step);
  CHECK(got.first_norm == want.first_norm);
  CHECK(same_calls(got.calls, want.calls));
  CHECK(got.start_costs == want.start_costs);
  CHECK(got.costs == want.costs);
  REQUIRE(got.curvature_directions.size() == want.curvature_directions.size());
  for (std::size_t i = 0; i < got.curvature_directions.size(); ++i) {
    CHECK(test::same(got.curvature_directions[i], want.curvature_directions[i]));
  }
}

// Runs both, compares results and states, and returns the result.
Result check_equal(mpi::Communicator& ranks, std::size_t total, Known known, const Options& options) {
  State whole = start();
  const Result want = run_alone(total, known, whole, options);
  State own = start();
  check_same(run_on(ranks, total, known, own, options), want);
  check_same(own, cut(whole, metalqr::shard_of(total, ranks.size(), ranks.rank())));
  return want;
}

}  // namespace

TEST_CASE("meta-training on ranks is bitwise that in one process, whatever is known and however few tasks") {
  mpi::Communicator ranks;
  for (const Order order : {Order::average, Order::first, Order::second, Order::reptile}) {
    for (const Known known : {Known::models, Known::exact_costs, Known::rollouts}) {
      for (const bool guard : {true, false}) {
        Options options{
            .order = order, .iterations = known == Known::models ? 4 : 2, .guard = guard, .seed = 7};
        if (!guard) options.outer = metalqr::constant_step(1e-5);
        for (const std::size_t total : std::vector<std::size_t>{1, 5, 37}) {
          INFO(meta::to_string(order)
               << ", " << total << " tasks, known " << static_cast<int>(known) << (guard ? ", guarded" : ""));
          const Result result = check_equal(ranks, total, known, options);
          CHECK(result.iterations > 0);
          CHECK((result.history.front().mean_cost > 0) == guard);
        }
      }
    }
  }
}

TEST_CASE("so it is for many tasks, and for the published setting") {
  mpi::Communicator ranks;
  check_equal(ranks, 100, Known::models, {.order = Order::second, .iterations = 6});
  check_equal(ranks, 100, Known::exact_costs, {.iterations = 3, .outer = metalqr::backtracking()});
  Options published = meta::published_guarded();
  published.iterations = 2;
  check_equal(ranks, 37, Known::exact_costs, published);
}

TEST_CASE("each rank's tasks may be passed as tasks or as oracles, too") {
  mpi::Communicator ranks;
  const std::size_t total = 20;
  const BoeingTasks tasks = tasks_of(metalqr::shard_of(total, ranks.size(), ranks.rank()));
  const BoeingTasks all = tasks_of({0, total});
  const Options options{.iterations = 2};
  const auto K0 = test::first_gain();
  check_same(meta::train_with_models(ranks, tasks, K0, options), meta::train_with_models(all, K0, options));
  check_same(meta::train(ranks, tasks, K0, options), meta::train(all, K0, options));
  check_same(meta::train<Boeing>(ranks, oracles_of(tasks, Known::exact_costs), K0, options),
             meta::train<Boeing>(oracles_of(all, Known::exact_costs), K0, options));
}

TEST_CASE("a run that is interrupted goes on bitwise, also on another number of ranks") {
  mpi::Communicator ranks;
  const std::size_t total = 37;
  for (const Known known : {Known::models, Known::exact_costs}) {
    Options options{.order = Order::second, .iterations = 6};
    State whole = start();
    const Result want = run_alone(total, known, whole, options);
    options.iterations = 3;
    State before = start();
    run_alone(total, known, before, options);
    options.iterations = 6;
    State own = cut(before, metalqr::shard_of(total, ranks.size(), ranks.rank()));
    CHECK(test::same(run_on(ranks, total, known, own, options).gain, want.gain));
    check_same(own, cut(whole, metalqr::shard_of(total, ranks.size(), ranks.rank())));
  }
}

TEST_CASE("the observer is called on every rank, sees its own tasks, and any of them ends the run") {
  mpi::Communicator ranks;
  const std::size_t total = 70;
  const Shard own = metalqr::shard_of(total, ranks.size(), ranks.rank());
  int calls = 0;
  State state = start();
  const auto result = run_on(ranks, total, Known::models, state, {.iterations = 9}, [&](const auto& info) {
    ++calls;
    CHECK(info.state.costs.size() == own.count);
    return ranks.rank() == ranks.size() - 1 && info.record.iteration == 3;
  });
  CHECK(calls == 3);
  CHECK(result.status == metalqr::Status::stopped);
  CHECK(result.iterations == 3);
}

namespace {

// What is thrown on rank `failing` is `Exception`, elsewhere a RemoteError that names the rank and says the
// same.
template <class Exception, class Call>
void check_failure(mpi::Communicator& ranks, int failing, const std::string& expected, const Call& call) {
  if (ranks.rank() == failing) {
    CHECK(test::message_of<Exception>(call) == expected);
  } else {
    CHECK(test::message_of<mpi::RemoteError>(call) == "rank " + std::to_string(failing) + ": " + expected);
  }
  CHECK(ranks.all(true));
}

}  // namespace

TEST_CASE("what fails on one rank fails on all, and nobody waits") {
  mpi::Communicator ranks;
  const std::size_t total = 70;
  const int failing = ranks.size() - 1;
  const Shard own = metalqr::shard_of(total, ranks.size(), ranks.rank());
  const Options options{.iterations = 4};
  const auto K0 = test::first_gain();

  // The last task is lost by K0.
  const BoeingTasks tasks = tasks_of(own);
  std::vector<Oracle> oracles = oracles_of(tasks, Known::exact_costs);
  if (ranks.rank() == failing) {
    oracles.back() = [](const Boeing::Gain&, const metalqr::StreamKey&) {
      return std::numeric_limits<double>::infinity();
    };
  }
  const std::string lost = "K0: expected a gain that stabilizes every task, the cost of task 69 is infinite";
  for (const bool guard : {true, false}) {
    Options kind = options;
    kind.guard = guard;
    if (!guard) kind.outer = metalqr::constant_step(1e-5);
    check_failure<metalqr::NotStabilizing>(ranks, failing, lost,
                                           [&] { meta::train<Boeing>(ranks, oracles, K0, kind); });
  }
  // An oracle throws in the second iteration.
  if (ranks.rank() == failing) {
    oracles.back() = [](const Boeing::Gain& K, const metalqr::StreamKey& key) {
      if (key.iteration > 0) throw std::runtime_error("plant is broken");
      return K.squaredNorm();
    };
  }
  check_failure<std::runtime_error>(ranks, failing, "plant is broken",
                                    [&] { meta::train<Boeing>(ranks, oracles, K0, options); });
  check_failure<std::logic_error>(ranks, failing, "observer", [&] {
    meta::train_with_models(ranks, tasks, K0, options, [&](const auto& info) {
      if (ranks.rank() == failing && info.record.iteration == 2) throw std::logic_error("observer");
      return false;
    });
  });
  auto spoilt = K0;
  if (ranks.rank() == failing) spoilt(1, 2) = std::numeric_limits<double>::quiet_NaN();
  check_failure<metalqr::NotFinite>(ranks, failing, "K0: expected finite entries, got nan at (1, 2)",
                                    [&] { meta::train_with_models(ranks, tasks, spoilt, options); });
  Options bad = options;
  if (ranks.rank() == failing) bad.tolerance = -1;
  check_failure<metalqr::InvalidOption>(ranks, failing, "tolerance: expected a finite number >= 0, got -1",
                                        [&] { meta::train_with_models(ranks, tasks, K0, bad); });
}

TEST_CASE("gains, options, states and shards that do not fit are refused on all ranks") {
  mpi::Communicator ranks;
  const bool last = ranks.rank() == ranks.size() - 1;
  const auto refusal = [&](const auto& call) {
    const std::string message = test::message_of<metalqr::InvalidOption>(call);
    CHECK(ranks.all(true));
    return message;
  };
  const auto K0 = test::first_gain();
  const BoeingTasks none;
  CHECK(refusal([&] { meta::train_with_models(ranks, none, K0); }) ==
        "tasks: expected at least one on any rank, got none");
  if (ranks.size() == 1) return;

  const std::string others = ": expected the same on all ranks, got another on rank " +
                             std::to_string(ranks.size() - 1) + " than on rank 0";
  const BoeingTasks tasks = tasks_of({static_cast<std::size_t>(16 * ranks.rank()), 16});
  auto K = K0;
  if (last) K(0, 0) += 1e-16;
  CHECK(refusal([&] { meta::train_with_models(ranks, tasks, K, {.iterations = 0}); }) == "K0" + others);
  const auto with = [&](const auto& change) {
    Options options{.iterations = 1};
    if (last) change(options);
    return refusal([&] { meta::train(ranks, tasks, K0, options); });
  };
  CHECK(with([](Options& o) { o.seed = 1; }) == "options" + others);
  CHECK(with([](Options& o) { o.iterations = 2; }) == "options" + others);
  CHECK(with([](Options& o) { o.outer.grow = 3; }) == "options" + others);
  CHECK(with([](Options& o) { o.estimator.radius = 1e-3; }) == "options" + others);
  // Not the number of threads, which changes nothing.
  meta::train_with_models(ranks, tasks, K0, {.iterations = 1, .threads = last ? 2 : 1});

  const std::vector<Oracle> oracles = oracles_of(tasks, Known::exact_costs);
  const OracleFleet fleet(std::span<const Oracle>(oracles), {.radius = last ? 1e-3 : 1e-4});
  CHECK(refusal([&] { meta::train(ranks, &fleet, K0, {.iterations = 1}); }) ==
        "the fleet's estimator" + others);

  const ModelFleet models(tasks);
  State state = start();
  meta::resume(ranks, &models, state, {.iterations = 2});
  State spoilt = state;
  if (last) ++spoilt.calls.probes;
  CHECK(refusal([&] { meta::resume(ranks, &models, spoilt, {}); }) == "state" + others);
  spoilt = state;
  if (last) spoilt.costs.clear();
  CHECK(refusal([&] { meta::resume(ranks, &models, spoilt, {}); }) == "state's lists" + others);

  const BoeingTasks split = tasks_of({static_cast<std::size_t>(10 * ranks.rank()), 10});
  CHECK(refusal([&] {
          meta::train_with_models(ranks, split, K0);
        }).rfind("shard: expected a multiple of 16", 0) == 0);
}
