#include <metalqr/io/meta_state.hpp>

#include <cmath>
#include <limits>
#include <string>

#include <metalqr/core/eigen.hpp>

#include "support.hpp"

namespace {

namespace io = metalqr::io;
using metalqr::ParseError;
using Backend = metalqr::EigenBackend<>;
using State = metalqr::meta::State<Backend>;

constexpr double infinity = std::numeric_limits<double>::infinity();

State read(const io::Json& json) {
  return io::read_meta_state<Backend>(io::JsonDocument(json.dump(), "s.json"));
}

/// A state in which all fields differ.
State some_state() {
  metalqr::Stream stream = test::stream(2);
  const auto gain = [&stream] {
    Backend::Gain K = Backend::zero_gain(2, 3);
    metalqr::fill_normal<Backend>(K, stream);
    return K;
  };
  return {.descent = {.K = gain(),
                      .iteration = 1,
                      .at = {.value = infinity, .acceptable = true},
                      .last_step = 1.0 / 3,
                      .refused = 2,
                      .failures = 3,
                      .skipped_pairs = 4,
                      .previous_K = gain(),
                      .previous_direction = gain(),
                      .has_previous = true,
                      .pairs = {{gain(), gain()}, {gain(), gain()}}},
          .inner_step = 0.1,
          .start_costs = {1.1, -0.0, 5e-324},
          .costs = {infinity, 2.2, 3.3},
          .curvature_directions = {gain(), gain(), gain()},
          .first_norm = 0.7,
          .calls = {.probes = 5, .base = 6, .assessments = 7, .curvature = 8},
          .guard_refusals = 9,
          .skipped_inner_points = 10,
          .reduced_inner_steps = 11,
          .unstable_probes = 12};
}

}  // namespace

TEST_CASE("every field of a state comes back bit by bit") {
  const State state = some_state();
  const io::Json written = io::to_json(state);
  const State back = read(written);
  CHECK(io::to_json(back) == written);
  CHECK(back.descent.K == state.descent.K);
  CHECK(back.descent.iteration == 1);
  CHECK(back.descent.at.value == infinity);
  CHECK(back.descent.at.acceptable);
  CHECK(back.descent.last_step == 1.0 / 3);
  CHECK(back.descent.refused == 2);
  CHECK(back.descent.failures == 3);
  CHECK(back.descent.skipped_pairs == 4);
  CHECK(back.descent.has_previous);
  CHECK(back.descent.previous_K == state.descent.previous_K);
  CHECK(back.descent.previous_direction == state.descent.previous_direction);
  REQUIRE(back.descent.pairs.size() == 2);
  CHECK(back.descent.pairs[1].step == state.descent.pairs[1].step);
  CHECK(back.descent.pairs[1].change == state.descent.pairs[1].change);
  CHECK(back.inner_step == 0.1);
  CHECK(back.start_costs == state.start_costs);
  CHECK(std::signbit(back.start_costs[1]));
  CHECK(back.costs == state.costs);
  CHECK(back.curvature_directions == state.curvature_directions);
  CHECK(back.first_norm == 0.7);
  CHECK(back.calls.probes == 5);
  CHECK(back.calls.base == 6);
  CHECK(back.calls.assessments == 7);
  CHECK(back.calls.curvature == 8);
  CHECK(back.guard_refusals == 9);
  CHECK(back.skipped_inner_points == 10);
  CHECK(back.reduced_inner_steps == 11);
  CHECK(back.unstable_probes == 12);
}

TEST_CASE("a meta-training state that is not one is refused by the name of its field") {
  const io::Json good = io::to_json(some_state());
  const auto reason = [](const io::Json& json) { return test::message_of<ParseError>([&] { read(json); }); };
  for (const auto& [name, value] : good.items()) {
    io::Json bad = good;
    bad.erase(name);
    CHECK(reason(bad).find("s.json: field " + name) == 0);
    bad[name] = name == "format" ? io::Json("another") : io::Json(nullptr);
    CHECK(reason(bad).find("s.json: field " + name) == 0);
  }
  for (const auto& [name, value] : good["descent"].items()) {
    io::Json bad = good;
    bad["descent"][name] = nullptr;
    CHECK(reason(bad).find("s.json: field descent." + name) == 0);
  }
  io::Json bad = good;
  bad["descent"]["pairs"][0]["step"] = {{1}};
  CHECK(reason(bad) == "s.json: field descent.pairs[0].step: expected shape 2x3, got 1x1");
  bad = good;
  bad["descent"]["iteration"] = 3000000000;
  CHECK(reason(bad).find("s.json: field descent.iteration: expected a whole number from 0") == 0);
  using Fixed = metalqr::EigenBackend<double, 2, 2>;
  CHECK_THROWS_AS(io::read_meta_state<Fixed>(io::JsonDocument(good.dump(), "s.json")), ParseError);
  State lost = read(good);
  lost.descent.K(0, 0) = std::nan("");
  CHECK_THROWS_AS(io::to_json(lost), metalqr::NotFinite);
}
