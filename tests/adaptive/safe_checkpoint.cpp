#include <metalqr/io/safe_exploration_checkpoint.hpp>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include <metalqr/synthesis/ipopt.hpp>

#include "folder.hpp"
#include "support.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
namespace io = metalqr::io;
namespace synthesis = metalqr::synthesis;
using metalqr::InvalidOption;
using metalqr::ParseError;
using test::Backend;
using test::Dense;
using test::Index;
using Problem = synthesis::SafeProblem<Backend>;

const metalqr::StreamKey key{.seed = 5};

/// An integrator of positions and velocities, known up to radii.
Problem some_problem() {
  const test::DenseTask task{Dense{{1, 0.5}, {0, 1}}, Dense{{0.125}, {0.5}}, test::identity(2), Dense{{0.5}},
                             test::identity(2)};
  return {.estimate = test::make_task(task),
          .epsilon_A = 0.03,
          .epsilon_B = 0.03,
          .noise = 0.02,
          .exploration = 0.15,
          .state_limits = synthesis::box_limits(2, 1),
          .input_limits = synthesis::box_limits(1, 1)};
}
adaptive::SafeExplorationOptions of(Index epochs) {
  return {.epochs = epochs, .steps = 60, .design = {.length = 6, .tau = 0.4}};
}
io::CheckpointOptions at(const std::string& path) {
  return {.path = path, .every = 1, .seconds = std::numeric_limits<double>::infinity()};
}

/// A plant of the set whose noise is a function of the number of steps, and which may break down.
struct Plant {
  Backend::StateVector x;
  Index step = 0;
  Index life = 1000;

  Backend::StateVector operator()(const Backend::ControlVector& u) {
    if (step == life) throw std::runtime_error("the plant is on fire");
    const Problem problem = some_problem();
    Backend::StateMatrix A = problem.estimate.A();
    A(0, 0) -= 0.03;
    Backend::StateVector next = A * x + problem.estimate.B() * u;
    for (Index i = 0; i < 2; ++i) next(i, 0) += 0.02 * std::sin(static_cast<double>(3 * step + i));
    ++step;
    return x = next;
  }
};
auto plant_that_lasts(Index steps) {
  return [steps](const Backend::StateVector& x, Index epochs) {
    return Plant{.x = x, .step = 60 * epochs, .life = steps};
  };
}

}  // namespace

TEST_CASE("a safe exploration that breaks down in any epoch goes on bitwise as if it had not") {
  const synthesis::IpoptSolver solver;
  const auto whole = adaptive::explore_safely(
      some_problem(), plant_that_lasts(1000)(Backend::zero_state(2), 0), solver, of(3), key);
  REQUIRE(whole.status == adaptive::SafeExplorationStatus::finished);
  REQUIRE(whole.problem.epsilon_A < 0.03);
  const test::Folder folder;
  const std::string path = folder.file("run");
  const auto explore = [&](Index life, Index epochs = 3) {
    return io::explore_safely_or_resume(some_problem(), plant_that_lasts(life), solver, of(epochs), at(path),
                                        key);
  };
  CHECK_THROWS_AS(explore(30), std::runtime_error);
  CHECK(folder.count() == 0);
  CHECK_THROWS_AS(explore(100), std::runtime_error);
  CHECK(folder.count() == 1);
  CHECK_THROWS_AS(explore(130), std::runtime_error);
  const auto rest = explore(1000);
  CHECK(rest.checkpoints.resumed_from == path);
  CHECK(rest.result.epochs.size() == 1);
  CHECK(rest.result.epochs.back().data.states == whole.epochs.back().data.states);
  CHECK(rest.result.epochs.back().data.inputs == whole.epochs.back().data.inputs);
  CHECK(io::to_json(rest.result) == io::to_json(whole));
  // It has ended.
  CHECK(explore(0).result.epochs.empty());
  CHECK(io::to_json(explore(0).result) == io::to_json(whole));
  CHECK(test::message_of<InvalidOption>([&] { explore(0, 2); }) ==
        path + ": the checkpoint is beyond the end of this run: epochs: expected a number >= 3, got 2");
  // Another one is refused, and so is what is damaged.
  CHECK(test::message_of<InvalidOption>([&] {
          io::explore_safely_or_resume(some_problem(), plant_that_lasts(9), solver, of(3), at(path),
                                       {.seed = 6});
        }) == path + ": the checkpoint is of another run: key.seed: expected 6, got 5");
  Problem other = some_problem();
  other.noise = 0.01;
  CHECK_THROWS_AS(io::explore_safely_or_resume(other, plant_that_lasts(9), solver, of(3), at(path), key),
                  InvalidOption);
  folder.write("run", "");
  folder.write("run.previous", "");
  CHECK_THROWS_AS(explore(1000), ParseError);
}

TEST_CASE("a safe exploration that is none is refused by the name of its field") {
  adaptive::SafeExploration<Backend> exploration{
      adaptive::SafeExplorationStatus::finished, {}, some_problem(), {}, {}, 2};
  CHECK_THROWS_AS(io::to_json(exploration), InvalidOption);
  exploration.controller =
      synthesis::FirController<Backend>({Backend::StateMatrix::Identity(2, 2)}, {Backend::zero_gain(1, 2)});
  exploration.problem.x0 = Backend::zero_state(2);
  const io::Json good = io::to_json(exploration);
  const auto read = [](const io::Json& json) {
    return io::read_safe_exploration<Backend>(io::JsonDocument(json.dump(), "s.json"));
  };
  CHECK(io::to_json(read(good)) == good);
  for (const std::string part : {"", "problem", "design", "controller"}) {
    for (const auto& [name, value] : (part.empty() ? good : good[part]).items()) {
      io::Json bad = good;
      (part.empty() ? bad : bad[part]).erase(name);
      const std::string place = (part.empty() ? "" : part + ".") + name;
      CHECK(test::message_of<ParseError>([&] { read(bad); }).find("s.json: field " + place) == 0);
    }
  }
}
