#include <metalqr/io/adaptive_state.hpp>

#include <optional>
#include <string>
#include <vector>

#include <metalqr/adaptive/advance.hpp>
#include <metalqr/adaptive/thompson_sampling.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
namespace io = metalqr::io;
using metalqr::Index;
using metalqr::ParseError;
using Backend = metalqr::EigenBackend<>;

metalqr::Task<Backend> plant() {
  return metalqr::systems::laplacian_3<Backend>(10);
}

template <class Strategy>
void check_continues(const Strategy& strategy, const adaptive::Options<Backend>& options) {
  const auto task = plant();
  auto whole =
      adaptive::start(task, metalqr::solve_dare(task).gain, options, {.seed = ~std::uint64_t{0}, .task = 3});
  auto part = whole;
  const std::vector<double> expected = adaptive::advance(task, whole, strategy, options, 60).regret;
  adaptive::advance(task, part, strategy, options, 27);
  const io::Json written = io::to_json(part);
  auto read = io::read_adaptive_state<Backend>(io::JsonDocument(written.dump(), "s.json"));
  CHECK(io::to_json(read) == written);
  const std::vector<double> rest = adaptive::advance(task, read, strategy, options, 33).regret;
  CHECK(std::vector<double>(expected.begin() + 27, expected.end()) == rest);
  CHECK(io::to_json(read) == io::to_json(whole));
}

}  // namespace

TEST_CASE("a run that is written, read and continued is bitwise the run that was not interrupted") {
  check_continues(adaptive::ThompsonSampling{}, {.schedule = adaptive::determinant_epochs()});
  // A dynamic controller with a past; the gain of another epoch remains.
  const auto strategy = [](const adaptive::Knowledge<Backend>& knowledge,
                           metalqr::Stream&) -> std::optional<adaptive::Controller<Backend>> {
    if (knowledge.epoch % 2 == 1) return std::nullopt;
    const auto I = Backend::identity_like(knowledge.estimate.A());
    return metalqr::synthesis::FirController<Backend>({I, 0.3 * I, 0.1 * I}, {-1.0 * I, -0.2 * I, 0.05 * I});
  };
  check_continues(strategy, {});
}

TEST_CASE("a state that is not one is refused by the name of its field") {
  const auto task = plant();
  const io::Json good = io::to_json(adaptive::start(task, metalqr::solve_dare(task).gain));
  const auto reason = [](const io::Json& json) {
    return test::message_of<ParseError>(
        [&] { io::read_adaptive_state<Backend>(io::JsonDocument(json.dump(), "s.json")); });
  };
  for (const auto& [name, value] : good.items()) {
    io::Json bad = good;
    bad.erase(name);
    CHECK(reason(bad).find("s.json: field " + name) == 0);
    bad[name] = name == "format" ? io::Json("another") : io::Json(nullptr);
    CHECK(reason(bad).find("s.json: field " + name) == 0);
  }
  io::Json bad = good;
  bad["x"] = {{1}, {2}};
  CHECK(reason(bad) == "s.json: field x: expected shape 3x1, got 2x1");
  bad = good;
  bad["epoch_start"] = 1;
  CHECK(reason(bad).find("s.json: field epoch_start: expected") == 0);
  bad = good;
  bad["data"]["factor"][5][0] = 1;
  CHECK_THROWS_AS(io::read_adaptive_state<Backend>(io::JsonDocument(bad.dump(), "s.json")),
                  metalqr::InvalidOption);
  using Fixed = metalqr::EigenBackend<double, 2, 2>;
  CHECK_THROWS_AS(io::read_adaptive_state<Fixed>(io::JsonDocument(good.dump(), "s.json")), ParseError);
}
