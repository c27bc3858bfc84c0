#pragma once

/// @file
/// The linear and quadratic programmes of safe synthesis with finite responses.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/synthesis/qp.hpp>
#include <metalqr/synthesis/safe_certificate.hpp>
#include <metalqr/synthesis/safe_problem.hpp>

namespace metalqr::inline METALQR_ABI::synthesis::detail {

/// The programmes for one problem. Unknowns: the coefficients of Phi_x and Phi_u, k = 1 ... L, with Phi_x(1)
/// = I and Phi_x(L+1) = 0; for every row a of a limit and every unit vector, bounds on the entries of a'
/// Phi(k) and, of limits, on those of a' Phi(k) Bhat; the norms |Phi_x|, |Phi_u| that |.|_inf induces.
template <MatrixBackend Backend>
class SafeProgramme {
 public:
  /// @param problem must outlive this.
  /// @param length L.
  SafeProgramme(const SafeProblem<Backend>& problem, Index length)
      : problem_(problem),
        noise_(problem),
        n_(problem.estimate.nx()),
        p_(problem.estimate.nu()),
        length_(length) {
    size_ = static_cast<std::size_t>((n_ + p_) * n_ * length_);
    norm_x_ = size_++;
    norm_u_ = size_++;
    for (const SafetyLimit& one : problem.state_limits) rows_.push_back(functional(false, one.weights, true));
    for (const SafetyLimit& one : problem.input_limits) rows_.push_back(functional(true, one.weights, true));
    limits_ = rows_.size();
    for (Index i = 0; i < n_ + p_; ++i) {
      const bool input = i >= n_;
      std::vector<double> unit(static_cast<std::size_t>(input ? p_ : n_), 0.0);
      unit[static_cast<std::size_t>(input ? i - n_ : i)] = 1;
      rows_.push_back(functional(input, unit, false));
    }
  }

  /// min epsilon_A |Phi_x| + epsilon_B |Phi_u| with the limits kept where that level is at most tau.
  QpProblem least_level(double tau) const {
    QpProblem programme = responses(tau);
    programme.objective[norm_x_] = problem_.epsilon_A;
    programme.objective[norm_u_] = problem_.epsilon_B;
    return programme;
  }

  /// The least cost, divided by `scale`, with the limits kept and the level at most tau.
  QpProblem least_cost(double tau, double scale) const {
    QpProblem programme = responses(tau);
    if (problem_.epsilon_A > 0 || problem_.epsilon_B > 0) {
      const Index row = new_row({.high = tau}, programme);
      add(row, static_cast<Index>(norm_x_), problem_.epsilon_A, programme);
      add(row, static_cast<Index>(norm_u_), problem_.epsilon_B, programme);
    }
    const Task<Backend>& task = problem_.estimate;
    for (Index k = 0; k < length_; ++k) {
      add_cost(
          task.Q(), scale, n_, [&](Index i, Index j) { return state(k, i, j); }, programme);
      add_cost(
          task.R(), scale, p_, [&](Index i, Index j) { return input(k, i, j); }, programme);
    }
    return programme;
  }

  /// About how many entries the matrix of a programme of any length has, as a double, that no length
  /// overflows.
  double entries(Index length) const {
    const auto n = static_cast<double>(n_);
    const auto p = static_cast<double>(p_);
    const auto L = static_cast<double>(length);
    double each = n * n * (1 + n + p) + (n + p) * n;  // a coefficient
    for (const Functional& one : functionals_) {
      const auto zeros = std::count(one.weights.begin(), one.weights.end(), 0.0);
      const double weights = static_cast<double>(one.weights.size()) - static_cast<double>(zeros);
      each += 2 * (n * (1 + weights) + static_cast<double>(stride(one) - n_) * (1 + n * weights));
    }
    double sums = 0;  // a coefficient of a limit's rows
    for (std::size_t k = 0; k < limits_; ++k) {
      const Functional& one = functionals_[rows_[k]];
      sums += static_cast<double>(stride(one));
      if (problem_.x0) each += n * static_cast<double>(one.weights.size());
    }
    return L * each + L * (problem_.x0 ? (L + 1) / 2 : 1) * sums;
  }

  /// The variable that is Phi_x(k+1)(i, j).
  Index state(Index k, Index i, Index j) const { return (k * n_ + i) * n_ + j; }
  /// The variable that is Phi_u(k+1)(i, j).
  Index input(Index k, Index i, Index j) const { return ((length_ * n_) + k * p_ + i) * n_ + j; }

 private:
  /// A row a of Phi_x or Phi_u whose absolute sums are unknowns.
  struct Functional {
    bool input = false;
    bool explored = false;  // whether a' Phi(k) Bhat counts too
    std::vector<double> weights;
    std::size_t first =
        0;  // of its bounds: n of coefficient 1, [p of coefficient 1,] n of coefficient 2, ...
  };

  // The place of a functional, which one of opposite sign shares.
  std::size_t functional(bool input, const std::vector<double>& weights, bool explored) {
    std::vector<double> opposite = weights;
    for (double& weight : opposite) weight = -weight;
    for (std::size_t k = 0; k < functionals_.size(); ++k) {
      const Functional& one = functionals_[k];
      if (one.input == input && (one.weights == weights || one.weights == opposite)) return k;
    }
    functionals_.push_back({input, explored && noise_.exploration > 0, weights, size_});
    size_ += static_cast<std::size_t>(length_ * stride(functionals_.back()));
    return functionals_.size() - 1;
  }
  Index stride(const Functional& one) const { return n_ + (one.explored ? p_ : 0); }
  Index bound(const Functional& one, Index k, Index j) const {
    return static_cast<Index>(one.first) + k * stride(one) + j;
  }

  template <class X, class Place>
  void add_cost(const X& weight, double scale, Index size, const Place& place, QpProblem& programme) const {
    const typename Backend::StateMatrix& W = problem_.estimate.Sigma0();
    for (Index i = 0; i < size; ++i) {
      for (Index l = 0; l < size; ++l) {
        for (Index j = 0; j < n_; ++j) {
          for (Index m = 0; m < n_; ++m) {
            const Index row = place(i, j);
            const Index column = place(l, m);
            const double value = 2 * Backend::to_double(weight(i, l)) * Backend::to_double(W(j, m)) / scale;
            if (column <= row && value != 0) programme.curvature.push_back({row, column, value});
          }
        }
      }
    }
  }

  // Everything but the objective and the bound on the level.
  QpProblem responses(double tau) const {
    QpProblem programme;
    programme.objective.assign(size_, 0.0);
    programme.variables.assign(size_, {});
    for (Index i = 0; i < n_; ++i) {
      for (Index j = 0; j < n_; ++j) {
        const double value = i == j ? 1 : 0;
        programme.variables[static_cast<std::size_t>(state(0, i, j))] = {value, value};
      }
    }
    add_dynamics(programme);
    for (const Functional& one : functionals_) add_bounds(one, programme);
    for (std::size_t k = 0; k < limits_; ++k) add_limit(k, tau, programme);
    for (std::size_t k = limits_; k < rows_.size(); ++k) {
      const Functional& one = functionals_[rows_[k]];
      const Index row = new_row({.low = 0}, programme);
      programme.matrix.push_back({row, static_cast<Index>(one.input ? norm_u_ : norm_x_), 1});
      for (Index t = 0; t < length_; ++t) {
        for (Index j = 0; j < n_; ++j) programme.matrix.push_back({row, bound(one, t, j), -1});
      }
    }
    return programme;
  }
  static Index new_row(const QpRange& range, QpProblem& programme) {
    programme.rows.push_back(range);
    return static_cast<Index>(programme.rows.size()) - 1;
  }
  static void add(Index row, Index column, double value, QpProblem& programme) {
    if (value != 0) programme.matrix.push_back({row, column, value});
  }

  void add_dynamics(QpProblem& programme) const {
    const Task<Backend>& task = problem_.estimate;
    for (Index k = 0; k < length_; ++k) {
      for (Index i = 0; i < n_; ++i) {
        for (Index j = 0; j < n_; ++j) {
          const Index row = new_row({0, 0}, programme);
          if (k + 1 < length_) add(row, state(k + 1, i, j), -1, programme);
          for (Index l = 0; l < n_; ++l) {
            add(row, state(k, l, j), Backend::to_double(task.A()(i, l)), programme);
          }
          for (Index l = 0; l < p_; ++l) {
            add(row, input(k, l, j), Backend::to_double(task.B()(i, l)), programme);
          }
        }
      }
    }
  }
  // Entry j of a' Phi(k+1), times a factor.
  void add_entry(const Functional& one, Index k, Index j, Index row, double factor,
                 QpProblem& programme) const {
    for (std::size_t i = 0; i < one.weights.size(); ++i) {
      const Index l = static_cast<Index>(i);
      add(row, one.input ? input(k, l, j) : state(k, l, j), factor * one.weights[i], programme);
    }
  }
  void add_bounds(const Functional& one, QpProblem& programme) const {
    for (Index k = 0; k < length_; ++k) {
      for (Index j = 0; j < stride(one); ++j) {
        for (const double sign : {1.0, -1.0}) {
          const Index row = new_row({.low = 0}, programme);
          programme.matrix.push_back({row, bound(one, k, j), 1});
          if (j < n_) {
            add_entry(one, k, j, row, sign, programme);
          } else {
            for (Index l = 0; l < n_; ++l) {
              add_entry(one, k, l, row, sign * Backend::to_double(problem_.estimate.B()(l, j - n_)),
                        programme);
            }
          }
        }
      }
    }
  }
  void add_limit(std::size_t k, double tau, QpProblem& programme) const {
    const Functional& one = functionals_[rows_[k]];
    const std::size_t states = problem_.state_limits.size();
    const SafetyLimit& limit = k < states ? problem_.state_limits[k] : problem_.input_limits[k - states];
    const double noise = noise_.direct + noise_.excess(tau);
    double high = limit.limit - margin * std::abs(limit.limit);
    for (const double weight : limit.weights) {
      if (one.input) high -= noise_.exploration * std::abs(weight);
    }
    // From t = L on x_0 is forgotten; without one, that is the hardest time.
    for (Index t = problem_.x0 ? 0 : length_; t <= length_; ++t) {
      const Index row = new_row({.high = high}, programme);
      for (Index s = 0; s < t; ++s) {
        for (Index j = 0; j < stride(one); ++j) {
          add(row, bound(one, s, j), j < n_ ? noise : noise_.exploration, programme);
        }
      }
      for (Index l = 0; l < n_ && t < length_; ++l) {
        const double start = Backend::to_double((*problem_.x0)(l, 0));
        for (std::size_t i = 0; i < limit.weights.size(); ++i) {
          const Index place = static_cast<Index>(i);
          add(row, one.input ? input(t, place, l) : state(t, place, l), limit.weights[i] * start, programme);
        }
      }
    }
  }

  // What a solver's rounding may take of a limit, relative to it.
  static constexpr double margin = 1e-7;

  const SafeProblem<Backend>& problem_;
  SafeNoise noise_;
  Index n_;
  Index p_;
  Index length_;
  std::size_t size_ = 0;
  std::size_t norm_x_ = 0;
  std::size_t norm_u_ = 0;
  std::size_t limits_ = 0;
  std::vector<std::size_t> rows_;  // functionals of the limits, then of the unit vectors
  std::vector<Functional> functionals_;
};

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
