#include <metalqr/io/matrix_field.hpp>

#include <string>
#include <vector>

#include <metalqr/core/eigen.hpp>

#include "support.hpp"

namespace {

namespace io = metalqr::io;
using metalqr::Index;
using Backend = metalqr::EigenBackend<>;
using Fixed = metalqr::EigenBackend<double, 3, 2>;

template <class Read>
std::string refused(const std::string& value, const Read& read) {
  const io::JsonDocument document(R"({"x": )" + value + "}", "t.json");
  return test::message_of<metalqr::ParseError>(
      [&] { static_cast<void>(read(io::JsonField(document).field("x"))); });
}

}  // namespace

TEST_CASE("matrices of a known shape come back from a list bit by bit") {
  std::vector<Backend::Gain> gains;
  metalqr::Stream stream = test::stream(1);
  for (int i = 0; i < 3; ++i) {
    gains.push_back(Backend::zero_gain(2, 3));
    metalqr::fill_normal<Backend>(gains.back(), stream);
  }
  const io::Json written = io::detail::list_to_json<Backend>(gains, "gains");
  const io::JsonDocument document(R"({"x": )" + written.dump() + ", \"none\": []}");
  const auto field = io::JsonField(document).field("x");
  CHECK(io::detail::read_list<Backend>(field, Backend::zero_gain(2, 3)) == gains);
  CHECK(io::detail::read_list<Fixed>(field, Fixed::zero_gain(2, 3)).back() == gains.back());
  CHECK(io::detail::read_like<Backend>(field.entry(1), Backend::zero_gain(2, 3)) == gains[1]);
  CHECK(io::detail::read_list<Backend>(io::JsonField(document).field("none"), gains[0]).empty());
}

TEST_CASE(
    "a matrix of another shape, and a number out of its range, are refused by the name of their place") {
  CHECK(refused("[[1, 2]]", [](const auto& x) {
          return io::detail::read_like<Backend>(x, Backend::zero_gain(2, 1));
        }) == "t.json: field x: expected shape 2x1, got 1x2");
  CHECK(refused("[[[1, 2]], [[1]]]", [](const auto& x) {
          return io::detail::read_list<Backend>(x, Backend::zero_gain(1, 2));
        }) == "t.json: field x[1]: expected shape 1x2, got 1x1");
  CHECK(refused("[0, 7, -1]", [](const auto& x) { return io::detail::read_counts(x); }) ==
        "t.json: field x[2]: expected a whole number of at least 0, got the number -1");
  CHECK(refused("[0, 7]", [](const auto& x) { return io::detail::read_counts(x, 0, 6); }) ==
        "t.json: field x[1]: expected a whole number from 0 to 6, got the number 7");
  CHECK(refused("3", [](const auto& x) { return io::detail::read_counts(x); }) ==
        "t.json: field x: expected a list, got the number 3");
  CHECK(refused("4", [](const auto& x) { return io::detail::read_size<Fixed>(x, true); }) ==
        "t.json: field x: expected a whole number from 3 to 3, got the number 4");
  CHECK(refused("0", [](const auto& x) {
          return io::detail::read_size<Backend>(x, false);
        }).starts_with("t.json: field x: expected a whole number from 1 to"));
}

TEST_CASE("whole numbers in a list are read as they are") {
  const io::JsonDocument document(R"({"x": [0, 3, 9007199254740993], "n": 2})");
  CHECK(io::detail::read_counts(io::JsonField(document).field("x")) ==
        std::vector<Index>{0, 3, 9007199254740993});
  CHECK(io::detail::read_size<Fixed>(io::JsonField(document).field("n"), false) == 2);
}
