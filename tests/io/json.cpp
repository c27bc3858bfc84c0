#include <metalqr/io/json.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "catch.hpp"
#include "folder.hpp"
#include "support.hpp"

namespace {

using metalqr::io::Json;
using metalqr::io::JsonDocument;
using test::Backend;
using Fixed = metalqr::EigenBackend<double, 2, 1>;

const std::string plant = R"("A": [[0.5, 1], [0, 0.25]], "B": [[0], [1]], "Q": [[2, 0], [0, 3]], "R": [[4]])";

JsonDocument document(const std::string& fields) {
  return JsonDocument("{" + fields + "}", "t.json");
}

template <class Exception, class AnyBackend = Backend>
std::string refused(const std::string& fields) {
  const JsonDocument read = document(fields);
  return test::message_of<Exception>([&] { metalqr::io::read_task<AnyBackend>(read); });
}

template <class X>
int different_bits(const X& x, const X& y) {
  int different = 0;
  for (metalqr::Index i = 0; i < x.rows(); ++i) {
    for (metalqr::Index j = 0; j < x.cols(); ++j) {
      different += std::bit_cast<std::uint64_t>(x(i, j)) == std::bit_cast<std::uint64_t>(y(i, j)) ? 0 : 1;
    }
  }
  return different;
}

}  // namespace

TEMPLATE_TEST_CASE("a task is read into fixed and dynamic sizes, Sigma0 being the identity if absent", "",
                   Backend, Fixed) {
  const auto task = metalqr::io::read_task<TestType>(document(plant + R"(, "comment": [1, "x"])"));
  CHECK(task.nx() == 2);
  CHECK(task.nu() == 1);
  CHECK(task.A()(0, 1) == 1);
  CHECK(task.B()(1, 0) == 1);
  CHECK(task.Q()(1, 1) == 3);
  CHECK(task.R()(0, 0) == 4);
  CHECK(task.Sigma0()(0, 0) == 1);
  CHECK(task.Sigma0()(0, 1) == 0);
  const auto other =
      metalqr::io::read_task<TestType>(document(plant + R"(, "Sigma0": [[0.5, 0.25], [0.25, 0.5]])"));
  CHECK(other.Sigma0()(0, 1) == 0.25);
  const auto K = metalqr::io::read_gain<TestType>(document(R"("K": [[0.1, 7]])"));
  CHECK(K(0, 1) == 7);
}

TEST_CASE("numbers reach other scalars as the nearest doubles") {
  using Wide = metalqr::EigenBackend<long double>;
  const auto task =
      metalqr::io::read_task<Wide>(document(R"("A": [[0.1]], "B": [[1]], "Q": [[1]], "R": [[1]])"));
  CHECK(task.A()(0, 0) == static_cast<long double>(0.1));
  using Narrow = metalqr::EigenBackend<float>;
  CHECK(metalqr::io::read_gain<Narrow>(document(R"("K": [[0.1]])"))(0, 0) == 0.1f);
}

TEST_CASE("tasks and gains survive a file bit by bit, from subnormal numbers to 1e308") {
  const test::Folder folder;
  auto stream = test::stream(42);
  for (int i = 0; i < 50; ++i) {
    auto problem = test::random_problem(1 + i % 4, 1 + i % 3, 0.9, stream);
    test::Dense& K = problem.K;
    K(0, 0) = std::ldexp(stream.uniform(0.5, 1), static_cast<int>(stream.uniform(-1073, 1024)));
    const auto task = test::make_task(problem.task);
    const auto gain = test::gain(K);
    Json json = metalqr::io::to_json(task);
    json["K"] = metalqr::io::to_json<Backend>(gain);
    metalqr::io::write_json(folder.file("t.json"), json);
    const auto read = JsonDocument::from_file(folder.file("t.json"));
    const auto again = metalqr::io::read_task<Backend>(read);
    CHECK(different_bits(again.A(), task.A()) + different_bits(again.B(), task.B()) +
              different_bits(again.Q(), task.Q()) + different_bits(again.R(), task.R()) +
              different_bits(again.Sigma0(), task.Sigma0()) ==
          0);
    CHECK(different_bits(metalqr::io::read_gain<Backend>(read), gain) == 0);
  }
  Backend::Gain edges = Backend::zero_gain(2, 4);
  edges << 0.0, -0.0, 5e-324, -2.2250738585072009e-308, 1.7976931348623157e308, 1e308, 0.1, 1.0 / 3;
  metalqr::io::write_json(folder.file("e.json"), {{"K", metalqr::io::to_json<Backend>(edges)}});
  CHECK(different_bits(metalqr::io::read_gain<Backend>(JsonDocument::from_file(folder.file("e.json"))),
                       edges) == 0);
}

TEST_CASE("a file has one field a line, in the order in which they were added") {
  const test::Folder folder;
  metalqr::io::write_json(folder.file("t.json"), {{"b \"x\"", 1}, {"a", {{1.5, 2}}}});
  CHECK(folder.read("t.json") == "{\n \"b \\\"x\\\"\": 1,\n \"a\": [[1.5,2]]\n}\n");
  metalqr::io::write_json(folder.file("t.json"), Json::array());
  CHECK(folder.read("t.json") == "[]\n");
}

TEST_CASE("a NaN or infinity is refused when written, and the file stays as it was") {
  const test::Folder folder;
  const std::string path = folder.write("t.json", "old");
  Backend::Gain K = Backend::zero_gain(1, 2);
  K(0, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK(test::message_of<metalqr::NotFinite>([&] {
          metalqr::io::write_json(path, {{"K", metalqr::io::to_json<Backend>(K, "K")}});
        }) == "K: expected finite entries, got nan at (0, 1)");
  K(0, 1) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(metalqr::io::to_json<Backend>(K), metalqr::NotFinite);
  CHECK(folder.read("t.json") == "old");
  CHECK_THROWS_AS(metalqr::io::write_json(folder.file("none/t.json"), {}), metalqr::FileError);
}

TEST_CASE("each field that a task needs is asked for by name") {
  CHECK_THAT(refused<metalqr::ParseError>(R"("B": [[1]], "Q": [[1]], "R": [[1]])"),
             Catch::Matchers::ContainsSubstring("t.json: field A: expected a matrix, the field is missing"));
  CHECK_THAT(refused<metalqr::ParseError>(R"("A": [[1]], "Q": [[1]], "R": [[1]])"),
             Catch::Matchers::ContainsSubstring("field B: expected a matrix"));
  CHECK_THAT(refused<metalqr::ParseError>(R"("A": [[1]], "B": [[1]], "R": [[1]])"),
             Catch::Matchers::ContainsSubstring("field Q: expected a matrix"));
  CHECK_THAT(refused<metalqr::ParseError>(R"("A": [[1]], "B": [[1]], "Q": [[1]])"),
             Catch::Matchers::ContainsSubstring("field R: expected a matrix"));
  CHECK_THROWS_AS(metalqr::io::read_gain<Backend>(document(plant)), metalqr::ParseError);
}

TEST_CASE("a misspelt Sigma0 and a cross term that would be overlooked are refused") {
  for (const char* name : {"sigma0", "Sigma_0", "sigma_0", "SIGMA0"}) {
    CHECK(refused<metalqr::ParseError>(plant + ", \"" + name + "\": [[1, 0], [0, 1]]") ==
          std::string("t.json: field ") + name + ": expected the name Sigma0");
  }
  CHECK(refused<metalqr::ParseError>(plant + R"(, "N": [[0], [0]])") ==
        "t.json: field N: expected a task without cross term");
}

TEST_CASE("a matrix of the wrong shape is refused with both shapes") {
  CHECK(refused<metalqr::DimensionMismatch>(R"("A": [[1, 2]], "B": [[1]], "Q": [[1]], "R": [[1]])") ==
        "t.json: field A: expected a square matrix, got shape 1x2");
  CHECK(refused<metalqr::DimensionMismatch>(R"("A": [[1]], "B": [[1], [2]], "Q": [[1]], "R": [[1]])") ==
        "B: expected shape 1x1, got 2x1");
  CHECK_THROWS_AS(
      metalqr::io::read_task<Backend>(document(R"("A": [[1]], "B": [[1]], "Q": [[1, 0]], "R": [[1]])")),
      metalqr::DimensionMismatch);
  CHECK(refused<metalqr::DimensionMismatch, Fixed>(R"("A": [[1]], "B": [[1]], "Q": [[1]], "R": [[1]])") ==
        "t.json: field A: expected 2 rows, got shape 1x1");
  CHECK(test::message_of<metalqr::DimensionMismatch>([] {
          metalqr::io::read_gain<Fixed>(document(R"("K": [[1, 2, 3]])"));
        }) == "t.json: field K: expected 2 columns, got shape 1x3");
}

TEST_CASE("a task that the mathematics forbids is refused as a task is") {
  CHECK_THAT(refused<metalqr::NotPositiveDefinite>(R"("A": [[1]], "B": [[1]], "Q": [[1]], "R": [[0]])"),
             Catch::Matchers::StartsWith("R: "));
  CHECK_THAT(refused<metalqr::NotPositiveDefinite>(R"("A": [[1]], "B": [[1]], "Q": [[-1]], "R": [[1]])"),
             Catch::Matchers::StartsWith("Q: "));
}

TEST_CASE("the cross term is read beside the task, zero if absent") {
  const auto plain = metalqr::io::read_task_with_cross_term<Backend>(document(plant));
  CHECK(plain.N.rows() == 2);
  CHECK(plain.N.cols() == 1);
  CHECK(plain.N.norm() == 0);
  const auto crossed =
      metalqr::io::read_task_with_cross_term<Backend>(document(plant + R"(, "N": [[0.5], [1]])"));
  CHECK(crossed.N(1, 0) == 1);
  CHECK(crossed.task.Q()(0, 0) == 2);
  CHECK_THROWS_AS(metalqr::io::read_task_with_cross_term<Backend>(document(plant + R"(, "N": [[0.5, 1]])")),
                  metalqr::DimensionMismatch);
  CHECK_THROWS_AS(metalqr::io::read_task_with_cross_term<Fixed>(document(plant + R"(, "N": [[0.5, 1]])")),
                  metalqr::DimensionMismatch);
}
