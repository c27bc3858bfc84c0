#pragma once

/// @file
/// The data structures of CSDP, in memory that C++ owns. Needs CSDP's header.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <csdp/declarations.h>

#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/synthesis/sdp.hpp>

namespace metalqr::inline METALQR_ABI::synthesis::detail {

// All memory that CSDP works on is owned here, and of its functions only `sdp` is called: those that
// allocate, read or check end the process where something is wrong. Everything in CSDP counts from 1.

/// A block matrix of CSDP, zero at first.
class CsdpMatrix {
 public:
  /// All blocks are of one category: MATRIX, or PACKEDMATRIX for an upper triangle.
  CsdpMatrix(const std::vector<Index>& orders, blockcat category) : records_(orders.size() + 1) {
    std::size_t size = 0;
    for (const Index order : orders) size += entries(order, category);
    numbers_.assign(size, 0.0);
    std::size_t used = 0;
    for (std::size_t b = 0; b < orders.size(); ++b) {
      blockrec& record = records_[b + 1];
      record.blockcategory = category;
      record.blocksize = static_cast<int>(orders[b]);
      record.data.mat = numbers_.data() + used;
      used += entries(orders[b], category);
    }
  }

  CsdpMatrix(const CsdpMatrix&) = delete;
  CsdpMatrix& operator=(const CsdpMatrix&) = delete;

  /// For CSDP's arguments; refers to this object.
  blockmatrix view() { return {static_cast<int>(records_.size()) - 1, records_.data()}; }
  /// The entries of block b, from 0, by columns.
  double* block(std::size_t b) { return records_[b + 1].data.mat; }
  /// All entries.
  const std::vector<double>& numbers() const { return numbers_; }
  /// Adds `value` to the diagonals.
  void add_to_diagonal(double value) {
    for (std::size_t b = 1; b < records_.size(); ++b) {
      const auto order = static_cast<std::size_t>(records_[b].blocksize);
      for (std::size_t i = 0; i < order; ++i) records_[b].data.mat[i * (order + 1)] += value;
    }
  }
  /// A copy of all blocks.
  std::vector<SdpBlock> copy() const {
    std::vector<SdpBlock> result;
    for (std::size_t b = 1; b < records_.size(); ++b) {
      const Index order = records_[b].blocksize;
      const double* first = records_[b].data.mat;
      result.push_back({order, {first, first + order * order}});
    }
    return result;
  }

 private:
  static std::size_t entries(Index order, blockcat category) {
    const auto n = static_cast<std::size_t>(order);
    return category == PACKEDMATRIX ? n * (n + 1) / 2 : n * n;
  }

  std::vector<double> numbers_;
  std::vector<blockrec> records_;
};

/// The entries of one block of one matrix A_i.
struct CsdpSparseBlock {
  std::vector<double> values{0.0};
  std::vector<int> rows{0};
  std::vector<int> columns{0};
  sparseblock record{};

  void add(Index row, Index column, double value) {
    rows.push_back(static_cast<int>(row) + 1);
    columns.push_back(static_cast<int>(column) + 1);
    values.push_back(value);
  }
  /// Points the record to the entries, which must not change afterwards.
  void connect(Index block, Index order, std::size_t constraint) {
    record.entries = values.data();
    record.iindices = rows.data();
    record.jindices = columns.data();
    record.numentries = static_cast<int>(values.size()) - 1;
    record.blocknum = static_cast<int>(block) + 1;
    record.blocksize = static_cast<int>(order);
    record.constraintnum = static_cast<int>(constraint) + 1;
  }
};

/// The matrices A_i as CSDP's lists, linked by constraint and by block, with sorted entries in upper
/// triangles.
class CsdpConstraints {
 public:
  explicit CsdpConstraints(const SdpProblem& problem)
      : heads_(problem.constraints.size() + 1), by_block_(problem.blocks.size() + 1, nullptr) {
    std::size_t most = 0;
    for (const SdpConstraint& constraint : problem.constraints) most += constraint.entries.size();
    blocks_.reserve(most);  // no reallocation: the records are linked by pointers
    std::vector<sparseblock*> last(problem.blocks.size() + 1, nullptr);
    std::vector<SdpEntry> entries;
    for (std::size_t i = 0; i < problem.constraints.size(); ++i) {
      merge(problem.constraints[i].entries, entries);
      if (entries.empty()) {
        throw InvalidOption("constraints[" + std::to_string(i) +
                            "].entries: expected a matrix that is not zero, got entries that cancel");
      }
      sparseblock** next = &heads_[i + 1].blocks;
      for (std::size_t k = 0; k < entries.size();) {
        const Index b = entries[k].block;
        CsdpSparseBlock& block = blocks_.emplace_back();
        for (; k < entries.size() && entries[k].block == b; ++k) {
          block.add(entries[k].row, entries[k].column, entries[k].value);
          norm_squares_ +=
              (entries[k].row == entries[k].column ? 1 : 2) * entries[k].value * entries[k].value;
        }
        const Index order = problem.blocks[static_cast<std::size_t>(b)];
        block.connect(b, order, i);
        // Dense products pay where a block has many entries: the rule of CSDP's own driver.
        const auto m = static_cast<double>(problem.constraints.size());
        const auto n = static_cast<double>(order);
        const double count = block.record.numentries;
        block.record.issparse = m * count * count > 0.125 * n * n * n && count > 5 ? 0 : 1;
        *next = &block.record;
        next = &block.record.next;
        sparseblock*& previous = last[static_cast<std::size_t>(b)];
        (previous == nullptr ? by_block_[static_cast<std::size_t>(b) + 1] : previous->nextbyblock) =
            &block.record;
        previous = &block.record;
      }
      norms_.push_back(std::sqrt(std::exchange(norm_squares_, 0.0)));
    }
  }

  constraintmatrix* heads() { return heads_.data(); }
  sparseblock** by_block() { return by_block_.data(); }
  /// |A_i|_F.
  const std::vector<double>& norms() const { return norms_; }

  /// The entries by block, row and column, with row <= column, those of one place added up, without zeros.
  static void merge(const std::vector<SdpEntry>& given, std::vector<SdpEntry>& entries) {
    entries = given;
    for (SdpEntry& entry : entries) {
      if (entry.row > entry.column) std::swap(entry.row, entry.column);
    }
    const auto before = [](const SdpEntry& x, const SdpEntry& y) {
      if (x.block != y.block) return x.block < y.block;
      return x.row != y.row ? x.row < y.row : x.column < y.column;
    };
    std::sort(entries.begin(), entries.end(), before);
    std::size_t kept = 0;
    for (std::size_t k = 0; k < entries.size(); ++k) {
      if (kept > 0 && !before(entries[kept - 1], entries[k])) {
        entries[kept - 1].value += entries[k].value;
      } else {
        if (kept > 0 && entries[kept - 1].value == 0) --kept;
        entries[kept++] = entries[k];
      }
    }
    if (kept > 0 && entries[kept - 1].value == 0) --kept;
    entries.resize(kept);
  }

 private:
  std::vector<constraintmatrix> heads_;
  std::vector<sparseblock*> by_block_;
  std::vector<CsdpSparseBlock> blocks_;
  std::vector<double> norms_;
  double norm_squares_ = 0;
};

/// The places where C or some A_i has an entry, and the diagonals.
class CsdpFill {
 public:
  CsdpFill(const SdpProblem& problem, CsdpConstraints& constraints, CsdpMatrix& C)
      : blocks_(problem.blocks.size()) {
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      const Index order = problem.blocks[b];
      const auto at = [order](Index i, Index j) { return static_cast<std::size_t>(i * order + j); };
      std::vector<char> touched(at(order, 0), 0);
      for (sparseblock* block = constraints.by_block()[b + 1]; block != nullptr; block = block->nextbyblock) {
        for (int k = 1; k <= block->numentries; ++k) {
          touched[at(block->iindices[k] - 1, block->jindices[k] - 1)] = 1;
          touched[at(block->jindices[k] - 1, block->iindices[k] - 1)] = 1;
        }
      }
      for (Index i = 0; i < order; ++i) {
        for (Index j = 0; j < order; ++j) {
          if (i == j || touched[at(i, j)] != 0 || C.block(b)[at(i, j)] != 0) blocks_[b].add(i, j, 1.0);
        }
      }
      blocks_[b].connect(static_cast<Index>(b), order, 0);
      if (b > 0) blocks_[b - 1].record.next = &blocks_[b].record;
    }
  }

  constraintmatrix view() { return {&blocks_.front().record}; }

 private:
  std::vector<CsdpSparseBlock> blocks_;
};

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
