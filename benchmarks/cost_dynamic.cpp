// One gain at a time, sizes known at run time only.

#include "cost.hpp"
#include "suite.hpp"

namespace benchmarks {

void register_cost_dynamic() {
  for_each_size([](auto nx, auto nu) {
    const Size size{nx, nu};
    add("cost/dynamic/" + text(size), run_costs<Dynamic>, size);
  });
}

}  // namespace benchmarks
