#include <metalqr/io/fingerprint.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/core/eigen.hpp>

#include "support.hpp"

namespace {

namespace io = metalqr::io;
using Backend = metalqr::EigenBackend<>;
using Task = metalqr::Task<Backend>;

Task task(double a) {
  const Eigen::MatrixXd I = Eigen::MatrixXd::Identity(2, 2);
  return {a * I, I.leftCols(1), I, I.topLeftCorner(1, 1)};
}

}  // namespace

TEST_CASE("a fingerprint of tasks is their number, sizes and the digest of their matrices in turn") {
  const std::vector<Task> tasks{task(0.5), task(0.25)};
  std::uint64_t hash = io::fnv1a("");
  for (const Task& one : tasks) {
    for (const Eigen::MatrixXd& X : {one.A(), one.B(), one.Q(), one.R(), one.Sigma0()})
      hash = io::digest<Backend>(X, hash);
  }
  CHECK(io::fingerprint_of_tasks(tasks) ==
        io::Json({{"tasks", 2}, {"nx", 2}, {"nu", 1}, {"digest", io::hex(hash)}}));
  CHECK_THROWS_AS(io::fingerprint_of_tasks(std::vector<Task>{}), metalqr::InvalidOption);
}

TEST_CASE("every matrix of every task is in its fingerprint, and so is their order") {
  const Task one = task(0.5);
  const Eigen::MatrixXd I = Eigen::MatrixXd::Identity(2, 2);
  const Eigen::MatrixXd R = one.R();
  const auto of = [](const std::vector<Task>& tasks) { return io::fingerprint_of_tasks(tasks).dump(); };
  const std::vector<std::string> all{of({one, task(0.25)}),
                                     of({task(0.25), one}),
                                     of({one, one}),
                                     of({one}),
                                     of({task(0.25)}),
                                     of({Task(0.5 * I, 2 * I.leftCols(1), I, R)}),
                                     of({Task(0.5 * I, I.leftCols(1), 2 * I, R)}),
                                     of({Task(0.5 * I, I.leftCols(1), I, 2 * R)}),
                                     of({Task(0.5 * I, I.leftCols(1), I, R, 2 * I)})};
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(all[i] != all[j]);
  }
}

TEST_CASE("a fingerprint of a matrix tells shapes and kinds of numbers apart") {
  const Eigen::MatrixXd row = Eigen::MatrixXd::Ones(1, 2);
  const Eigen::MatrixXd column = Eigen::MatrixXd::Ones(2, 1);
  const Eigen::MatrixXf narrow = row.cast<float>();
  CHECK(io::fingerprint<Backend>(row) ==
        io::Json({{"rows", 1}, {"columns", 2}, {"bits", 53}, {"digest", io::hex(io::digest<Backend>(row))}}));
  CHECK(io::fingerprint<Backend>(row) != io::fingerprint<Backend>(column));
  CHECK(io::fingerprint<Backend>(row) != io::fingerprint<metalqr::EigenBackend<float>>(narrow));
}

TEST_CASE("only numbers that a double holds can be kept") {
  using metalqr::EigenBackend;
  CHECK(io::detail::is_kept_by_json<EigenBackend<float>>);
  CHECK(io::detail::is_kept_by_json<EigenBackend<double>>);
  CHECK(io::detail::is_kept_by_json<EigenBackend<long double>> ==
        (std::numeric_limits<long double>::digits <= std::numeric_limits<double>::digits));
}
