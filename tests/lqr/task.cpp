#include <metalqr/lqr/task.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "support.hpp"

namespace {

using Task = metalqr::Task<test::Backend>;
using metalqr::DimensionMismatch;
using metalqr::Index;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using metalqr::NotPositiveDefinite;
using test::Dense;
using test::DenseTask;
using test::message_of;

const double not_a_number = std::numeric_limits<double>::quiet_NaN();
const double infinity = std::numeric_limits<double>::infinity();

DenseTask good() {
  return {{{1, 0.5, 0}, {0, 1, 0.5}, {0, 0, 1}},
          {{0, 1}, {1, 0}, {1, 1}},
          {{2, 1, 0}, {1, 2, 0}, {0, 0, 1}},
          {{2, 1}, {1, 2}},
          {{1, 0, 0.5}, {0, 1, 0}, {0.5, 0, 1}}};
}

/// With dynamic sizes all matrices have one type, so that any shape can be given.
test::Backend::Matrix matrix(const Dense& x) {
  return test::filled(test::Backend::zero_matrix(x.rows, x.cols), x);
}

/// What making a task says after `spoil` has changed the good one.
template <class Exception>
std::string refusal(const std::function<void(DenseTask&)>& spoil) {
  DenseTask t = good();
  spoil(t);
  return message_of<Exception>(
      [&] { Task(matrix(t.A), matrix(t.B), matrix(t.Q), matrix(t.R), matrix(t.Sigma0)); });
}

/// The matrices of a task with their names.
struct Member {
  const char* name;
  Dense DenseTask::*matrix;
};
const std::vector<Member> members{{"A", &DenseTask::A},
                                  {"B", &DenseTask::B},
                                  {"Q", &DenseTask::Q},
                                  {"R", &DenseTask::R},
                                  {"Sigma0", &DenseTask::Sigma0}};

bool starts_with(const std::string& text, const std::string& start) {
  return text.rfind(start, 0) == 0;
}

}  // namespace

TEST_CASE("a task keeps its matrices and knows its sizes") {
  const DenseTask from = good();
  const Task task = test::make_task<test::Backend>(from);
  CHECK(task.nx() == 3);
  CHECK(task.nu() == 2);
  CHECK(relative_error(test::dense(task.A()), from.A) == 0);
  CHECK(relative_error(test::dense(task.B()), from.B) == 0);
  CHECK(relative_error(test::dense(task.Q()), from.Q) == 0);
  CHECK(relative_error(test::dense(task.R()), from.R) == 0);
  CHECK(relative_error(test::dense(task.Sigma0()), from.Sigma0) == 0);
}

TEST_CASE("the initial state's second moment is the identity unless given") {
  const Task task = test::make_task<test::Backend>(good());
  const Task without(task.A(), task.B(), task.Q(), task.R());
  CHECK(relative_error(test::dense(without.Sigma0()), test::identity(3)) == 0);
}

TEST_CASE("asymmetry within rounding is averaged away") {
  DenseTask from = good();
  from.Q(0, 1) += 1e-10;
  from.R(1, 0) += 1e-10;
  from.Sigma0(2, 0) -= 1e-10;
  const Task task = test::make_task<test::Backend>(from);
  CHECK(task.Q()(0, 1) == task.Q()(1, 0));
  CHECK(std::abs(task.Q()(0, 1) - (1 + 0.5e-10)) < 1e-15);
  CHECK(task.R()(0, 1) == task.R()(1, 0));
  CHECK(task.Sigma0()(0, 2) == task.Sigma0()(2, 0));
}

TEST_CASE("costs and moments up to the largest number are kept as they are") {
  DenseTask from = good();
  const double largest = std::numeric_limits<double>::max();
  from.Q = {{largest, largest / 3, 0}, {largest / 3, largest, 0}, {0, 0, 1}};
  from.R = {{0.75 * largest, 0}, {0, largest}};
  from.Sigma0 = from.Q;
  const Task task = test::make_task<test::Backend>(from);
  for (Index i = 0; i < 3; ++i) {
    for (Index j = 0; j < 3; ++j) {
      CHECK(task.Q()(i, j) == static_cast<double>(from.Q(i, j)));
      CHECK(task.Sigma0()(i, j) == static_cast<double>(from.Sigma0(i, j)));
    }
  }
  CHECK(task.R()(0, 0) == 0.75 * largest);
  CHECK(task.R()(0, 1) == 0);
  CHECK(task.R()(1, 1) == largest);
}

TEST_CASE(
    "costs and moments whose mean with their transpose is indefinite are refused, though a triangle is not") {
  // The lower triangle alone is that of a definite matrix; what a task keeps is not.
  CHECK(starts_with(refusal<NotPositiveDefinite>([](DenseTask& t) {
                      t.R = {{1, 1 + 2e-9}, {1 - 1e-9, 1}};
                    }),
                    "R: expected a positive definite matrix, got pivot -"));
  CHECK(starts_with(refusal<NotPositiveDefinite>([](DenseTask& t) {
                      t.Q = {{1, 1 + 2e-9, 0}, {1 - 1e-9, 1, 0}, {0, 0, 1}};
                    }),
                    "Q: expected a positive semidefinite matrix, got pivot -"));
  CHECK(starts_with(refusal<NotPositiveDefinite>([](DenseTask& t) {
                      t.Sigma0 = {{1, 1 + 2e-9, 0}, {1 - 1e-9, 1, 0}, {0, 0, 1}};
                    }),
                    "Sigma0: expected a positive semidefinite matrix, got pivot -"));
  const Task task = test::make_task<test::Backend>(good());
  const Dense W{{1, 1 + 2e-9, 0}, {1 - 1e-9, 1, 0}, {0, 0, 1}};
  CHECK(starts_with(message_of<NotPositiveDefinite>([&] { task.with_process_noise(test::state_matrix(W)); }),
                    "W: "));
}

TEST_CASE("matrices of wrong shape are refused by name") {
  CHECK(refusal<DimensionMismatch>([](DenseTask& t) { t.A = Dense(3, 4); }) ==
        "A: expected shape 3x3, got 3x4");
  CHECK(refusal<DimensionMismatch>([](DenseTask& t) { t.B = Dense(2, 2); }) ==
        "B: expected shape 3x2, got 2x2");
  CHECK(refusal<DimensionMismatch>([](DenseTask& t) { t.Q = Dense(3, 2); }) ==
        "Q: expected shape 3x3, got 3x2");
  CHECK(refusal<DimensionMismatch>([](DenseTask& t) { t.Q = test::identity(2); }) ==
        "Q: expected shape 3x3, got 2x2");
  CHECK(refusal<DimensionMismatch>([](DenseTask& t) { t.R = test::identity(3); }) ==
        "R: expected shape 2x2, got 3x3");
  CHECK(refusal<DimensionMismatch>([](DenseTask& t) { t.Sigma0 = test::identity(4); }) ==
        "Sigma0: expected shape 3x3, got 4x4");
}

TEST_CASE("a task without states or without inputs is refused") {
  CHECK(starts_with(refusal<DimensionMismatch>([](DenseTask& t) {
                      t = {Dense(0, 0), Dense(0, 2), Dense(0, 0), Dense{{1, 0}, {0, 1}}, Dense(0, 0)};
                    }),
                    "A: expected at least one state, got 0x0"));
  CHECK(starts_with(refusal<DimensionMismatch>([](DenseTask& t) {
                      t.B = Dense(3, 0);
                      t.R = Dense(0, 0);
                    }),
                    "B: expected at least one input, got 3x0"));
}

TEST_CASE("an entry that is not finite is refused in every matrix, whatever its place") {
  for (const Member& member : members) {
    for (const double bad : {not_a_number, infinity, -infinity}) {
      // On the diagonal, off it, and at an entry and its mirror.
      for (const int where : {0, 1, 2}) {
        const std::string message = refusal<NotFinite>([&](DenseTask& t) {
          Dense& x = t.*member.matrix;
          if (where == 0) x(1, 1) = bad;
          if (where >= 1) x(1, 0) = bad;
          if (where == 2) x(0, 1) = bad;
        });
        CHECK(starts_with(message, std::string(member.name) + ": expected finite entries, got "));
      }
    }
  }
}

TEST_CASE("asymmetric costs and moments are refused by name") {
  for (const Member& member : {members[2], members[3], members[4]}) {
    const std::string message =
        refusal<NotPositiveDefinite>([&](DenseTask& t) { (t.*member.matrix)(0, 1) += 0.01; });
    CHECK(starts_with(message, std::string(member.name) + ": expected a symmetric matrix, got "));
  }
}

TEST_CASE("an indefinite Q, R or Sigma0 and a semidefinite R are refused by name") {
  CHECK(starts_with(refusal<NotPositiveDefinite>([](DenseTask& t) { t.Q(0, 1) = t.Q(1, 0) = 2.1; }),
                    "Q: expected a positive semidefinite matrix, got pivot "));
  CHECK(starts_with(refusal<NotPositiveDefinite>([](DenseTask& t) { t.Q(2, 2) = -1e-9; }),
                    "Q: expected a positive semidefinite matrix, got pivot -"));
  CHECK(starts_with(refusal<NotPositiveDefinite>([](DenseTask& t) { t.Sigma0(2, 2) = 0.2; }),
                    "Sigma0: expected a positive semidefinite matrix, got pivot "));
  CHECK(starts_with(refusal<NotPositiveDefinite>([](DenseTask& t) { t.R(0, 1) = t.R(1, 0) = 2; }),
                    "R: expected a positive definite matrix, got pivot "));
  CHECK(starts_with(refusal<NotPositiveDefinite>([](DenseTask& t) { t.R(0, 1) = t.R(1, 0) = 3; }),
                    "R: expected a positive definite matrix, got pivot "));
  CHECK(starts_with(refusal<NotPositiveDefinite>([](DenseTask& t) { t.R = Dense(2, 2); }),
                    "R: expected a positive definite matrix, got pivot 0"));
}

TEST_CASE("a thousand tasks with semidefinite Q and Sigma0 of rank two pass, and so do zeros") {
  metalqr::Stream stream = test::stream(21);
  for (int sample = 0; sample < 1000; ++sample) {
    const DenseTask task{test::random_matrix(6, 6, stream), test::random_matrix(6, 2, stream),
                         test::random_semidefinite(6, 2, stream), test::random_definite(2, stream),
                         test::random_semidefinite(6, 2, stream)};
    CHECK_NOTHROW(test::make_task<test::Backend>(task));
  }
  DenseTask zeros = good();
  zeros.A = zeros.Q = zeros.Sigma0 = Dense(3, 3);
  zeros.B = Dense(3, 2);
  CHECK_NOTHROW(test::make_task<test::Backend>(zeros));
}

TEST_CASE("another initial state or process noise takes the place of Sigma0 and is checked") {
  const Task task = test::make_task<test::Backend>(good());
  const Dense W{{3, 1, 0}, {1, 3, 0}, {0, 0, 0}};
  for (const Task& other :
       {task.with_initial_state(test::state_matrix(W)), task.with_process_noise(test::state_matrix(W))}) {
    CHECK(relative_error(test::dense(other.Sigma0()), W) == 0);
    CHECK(relative_error(test::dense(other.A()), test::dense(task.A())) == 0);
    CHECK(relative_error(test::dense(other.R()), test::dense(task.R())) == 0);
  }
  CHECK_THROWS_AS(task.with_initial_state(test::state_matrix(test::identity(2))), DimensionMismatch);
  CHECK_THROWS_AS(task.with_initial_state(test::state_matrix(-1.0L * W)), NotPositiveDefinite);
  // The message names the argument of the function that was called.
  CHECK(starts_with(
      message_of<NotPositiveDefinite>([&] { task.with_process_noise(test::state_matrix(-1.0L * W)); }),
      "W: "));
  CHECK(starts_with(
      message_of<DimensionMismatch>([&] { task.with_process_noise(test::state_matrix(test::identity(2))); }),
      "W: "));
}

TEST_CASE("a discount scales A and B by its square root") {
  const DenseTask from = good();
  const Task task = test::make_task<test::Backend>(from).with_discount(0.81);
  CHECK(relative_error(test::dense(task.A()), 0.9L * from.A) < 1e-15);
  CHECK(relative_error(test::dense(task.B()), 0.9L * from.B) < 1e-15);
  CHECK(relative_error(test::dense(task.Q()), from.Q) == 0);
  CHECK(relative_error(test::dense(task.R()), from.R) == 0);
  CHECK(relative_error(test::dense(task.Sigma0()), from.Sigma0) == 0);
  CHECK_NOTHROW(task.with_discount(1));
}

TEST_CASE("a discount outside (0, 1] is refused") {
  const Task task = test::make_task<test::Backend>(good());
  for (const double bad : {0.0, -0.5, 1.0001, not_a_number, infinity}) {
    CHECK(starts_with(message_of<InvalidOption>([&] { task.with_discount(bad); }),
                      "discount: expected a number in (0, 1], got "));
  }
}
