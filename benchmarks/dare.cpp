// Riccati equations, sizes known at run time only.

#include "dare.hpp"

namespace benchmarks {

namespace {

[[maybe_unused]] const bool registered = [] {
  for (const Size size : {Size{4, 2}, Size{8, 3}}) add("dare/dynamic/" + text(size), run_dare<Dynamic>, size);
  for (const Size size : {Size{20, 5}, Size{50, 10}, Size{100, 20}}) {
    add("dare/metalqr/" + text(size), run_dare<Dynamic>, size);
  }
  return true;
}();

}  // namespace

}  // namespace benchmarks
