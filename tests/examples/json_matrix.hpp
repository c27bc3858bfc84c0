#pragma once

/// @file
/// Matrices between the tests' dense arithmetic and JSON.

#include <cstddef>

#include <nlohmann/json.hpp>

#include "support.hpp"

namespace test {

/// The matrix as a list of rows.
inline nlohmann::json rows(const Dense& x) {
  nlohmann::json result = nlohmann::json::array();
  for (Index i = 0; i < x.rows; ++i) {
    nlohmann::json row = nlohmann::json::array();
    for (Index j = 0; j < x.cols; ++j) row.push_back(static_cast<double>(x(i, j)));
    result.push_back(row);
  }
  return result;
}

/// The matrix in a list of rows.
inline Dense matrix(const nlohmann::json& value) {
  Dense x(static_cast<Index>(value.size()), static_cast<Index>(value.at(0).size()));
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.cols; ++j)
      x(i, j) = value.at(static_cast<std::size_t>(i)).at(static_cast<std::size_t>(j)).get<double>();
  }
  return x;
}

}  // namespace test
