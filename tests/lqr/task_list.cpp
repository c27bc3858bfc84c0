#include <metalqr/lqr/task_list.hpp>

#include <array>
#include <list>
#include <span>
#include <vector>

#include <metalqr/systems/family.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

using test::Backend;
using Task = metalqr::Task<Backend>;

namespace systems = metalqr::systems;

static_assert(metalqr::TaskList<std::vector<Task>>);
static_assert(metalqr::TaskList<std::array<Task, 3>>);
static_assert(metalqr::TaskList<std::span<const Task>>);
static_assert(metalqr::TaskList<systems::Family<Backend>>);
static_assert(!metalqr::TaskList<std::vector<double>>);
static_assert(!metalqr::TaskList<std::list<Task>>);
static_assert(!metalqr::TaskList<Task>);
static_assert(std::is_same_v<metalqr::BackendOf<std::vector<Task>>, Backend>);
static_assert(std::is_convertible_v<const systems::Family<Backend>&, std::span<const Task>>);

TEST_CASE("a checked fleet shows the tasks of the list in their order") {
  const std::vector<Task> tasks{systems::modified_boeing<Backend>(),
                                systems::modified_boeing_as_printed<Backend>()};
  const auto fleet = metalqr::checked_fleet(tasks);
  CHECK(fleet.size() == 2);
  CHECK(fleet.data() == tasks.data());
}

TEST_CASE("an empty list and tasks of different shapes are no fleet") {
  CHECK_THAT(test::message_of<metalqr::InvalidOption>([] { metalqr::checked_fleet(std::vector<Task>{}); }),
             Catch::Matchers::ContainsSubstring("tasks: expected at least one task"));
  const std::vector<Task> mixed{systems::modified_boeing<Backend>(), systems::modified_boeing<Backend>(),
                                systems::double_integrator<Backend>()};
  CHECK_THAT(test::message_of<metalqr::DimensionMismatch>([&] { metalqr::checked_fleet(mixed); }),
             Catch::Matchers::ContainsSubstring("4x2 in every task, got 2x1 in task 2"));
}
