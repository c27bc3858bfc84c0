// Costs, one gain at a time, sizes known at run time only.

#include "cost.hpp"

namespace benchmarks {

namespace {

[[maybe_unused]] const bool registered = [] {
  for (const Size size : {Size{4, 2}, Size{8, 3}, Size{12, 4}, Size{16, 4}}) {
    add("cost/dynamic/" + text(size), run_costs<Dynamic>, size);
  }
  return true;
}();

}  // namespace

}  // namespace benchmarks
