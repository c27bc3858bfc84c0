#pragma once

/// @file
/// Agents of other ranks that work together, at rank 0. Needs the component `mpi`.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/core/mpi.hpp>
#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/mpi_message.hpp>

namespace metalqr::inline METALQR_ABI::federated::detail {

/// What all ranks do next: orders in the order of agents, each with the place of its gain in a list.
template <class Backend>
struct Round {
  struct Order {
    Index agent = 0;
    Index number = 0;    // of the piece of work, or of the question
    Index version = 0;   // of the gain of a piece of work
    Index reported = 0;  // the last piece of work that the server took; negative: none
    Index gain = 0;
  };

  Mail kind = Mail::stop;  // work, question or stop; of the latter the orders say what was reported alone
  std::vector<typename Backend::Gain> gains;
  std::vector<Order> orders;
};

template <MatrixBackend Backend>
Bytes to_mail(const Round<Backend>& round) {
  ByteWriter writer = begin_mail(0, round.kind);
  writer.put(static_cast<std::uint64_t>(round.orders.size()));
  for (const auto& order : round.orders) writer.put(order);
  writer.put(static_cast<std::uint64_t>(round.gains.size()));
  for (const auto& gain : round.gains) writer.put_entries<Backend>(gain);
  return writer.take();
}
template <MatrixBackend Backend>
Round<Backend> read_round(const Bytes& content, const typename Backend::Gain& shape) {
  using Order = typename Round<Backend>::Order;
  ByteReader reader(content);
  Round<Backend> round{.kind = read_head(reader).kind, .gains = {}, .orders = {}};
  require_mail(round.kind == Mail::work || round.kind == Mail::question || round.kind == Mail::stop,
               "a round");
  for (auto left = reader.get<std::uint64_t>(); left > 0; --left) round.orders.push_back(reader.get<Order>());
  for (auto left = reader.get<std::uint64_t>(); left > 0; --left) {
    round.gains.push_back(shape);
    reader.get_entries<Backend>(round.gains.back());
  }
  reader.require_end();
  const auto gains = static_cast<Index>(round.gains.size());
  for (const Order& order : round.orders) {
    require_mail(round.kind == Mail::stop || (order.gain >= 0 && order.gain < gains),
                 "a gain for each order");
  }
  return round;
}
/// Whether that was the last round; what is no message is none.
inline bool is_stop(const Bytes& content) {
  try {
    ByteReader reader(content);
    return read_head(reader).kind == Mail::stop;
  } catch (const ParseError&) {
    return false;
  }
}

/// What a rank hands over begins with whether it failed; then it says why.
inline void require_success(int rank, const Bytes& content) {
  ByteReader reader(content);
  if (reader.get<std::uint8_t>() != 0) throw mpi::RemoteError(rank, reader.get_text());
}

/// Agents that work at other ranks; what they do they do together. At rank 0.
template <MatrixBackend Backend_>
class CollectiveAgents {
 public:
  using Backend = Backend_;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  /// Hears which agents the ranks own; together with `run` of theirs.
  /// @param check throws if there is to be no run; then all ranks throw.
  template <class Check>
  CollectiveAgents(mpi::Communicator& ranks, Index agents, const Gain& shape, const Check& check)
      : ranks_(ranks), shape_(Backend::zero_like(shape)) {
    const std::vector<Bytes> hellos = ranks_.gather({});
    // What is wrong is said to all.
    ranks_.broadcast_of([&] {
      check();
      limits_.resize(static_cast<std::size_t>(agents));
      reported_.resize(limits_.size(), -1);
      owners_.resize(limits_.size(), 0);
      for (int rank = 1; rank < ranks_.size(); ++rank) {
        enter(rank, hellos[static_cast<std::size_t>(rank)]);
      }
      for (std::size_t i = 0; i < owners_.size(); ++i) {
        if (owners_[i] != 0) continue;
        throw InvalidOption("agents: expected " + std::to_string(owners_.size()) +
                            " of the other ranks, got no agent " + std::to_string(i));
      }
      return Bytes{};
    });
  }

  Index size() const { return static_cast<Index>(limits_.size()); }
  Scalar limit(Index agent) const { return limits_[static_cast<std::size_t>(agent)]; }
  Report<Backend> work(Index agent, Index round, Index version, const Gain& K) {
    std::vector<Report<Backend>> reports(limits_.size());
    const BatchOrder<Backend> order{.agent = agent, .number = round, .version = version, .gain = &K};
    work_all({&order, 1}, reports);
    return std::move(reports[static_cast<std::size_t>(agent)]);
  }
  Scalar cost(Index agent, Index question, const Gain& K) {
    std::vector<Scalar> costs(limits_.size());
    const BatchOrder<Backend> order{.agent = agent, .number = question, .version = 0, .gain = &K};
    cost_all({&order, 1}, costs);
    return costs[static_cast<std::size_t>(agent)];
  }
  void reported(Index agent, Index round) { reported_[static_cast<std::size_t>(agent)] = round; }

  void work_all(std::span<const BatchOrder<Backend>> orders, std::span<Report<Backend>> reports) {
    carry_out(Mail::work, orders, [&](Index agent, ByteReader& reader) {
      Report<Backend> report{.agent = agent,
                             .version = reader.get<Index>(),
                             .estimate = shape_,
                             .cost = reader.get<Scalar>(),
                             .weight = reader.get<double>()};
      reader.get_entries<Backend>(report.estimate);
      reports[static_cast<std::size_t>(agent)] = std::move(report);
    });
  }
  void cost_all(std::span<const BatchOrder<Backend>> orders, std::span<Scalar> costs) {
    carry_out(Mail::question, orders, [&](Index agent, ByteReader& reader) {
      costs[static_cast<std::size_t>(agent)] = reader.get<Scalar>();
    });
  }

  /// Tells the ranks that the run has ended, unless they have left it.
  void stop() {
    if (over_) return;
    over_ = true;
    Round<Backend> round{.kind = Mail::stop, .gains = {}, .orders = {}};
    for (Index agent = 0; agent < size(); ++agent) {
      round.orders.push_back({.agent = agent, .reported = reported_[static_cast<std::size_t>(agent)]});
    }
    ranks_.broadcast_of([&] { return to_mail(round); });
  }

 private:
  void enter(int rank, const Bytes& content) {
    require_success(rank, content);
    ByteReader reader(content);
    reader.get<std::uint8_t>();
    const Index rows = reader.get<Index>();
    const Index cols = reader.get<Index>();
    const std::string who = "rank " + std::to_string(rank) + ": ";
    if (rows != Backend::rows(shape_) || cols != Backend::cols(shape_)) {
      throw DimensionMismatch(who + "expected gains of the shape " +
                              metalqr::detail::shape(Backend::rows(shape_), Backend::cols(shape_)) +
                              ", got " + metalqr::detail::shape(rows, cols));
    }
    Index agent = reader.get<Index>();
    for (; reader.left() > 0; ++agent) {
      if (agent < 0 || agent >= size() || owners_[static_cast<std::size_t>(agent)] != 0) {
        throw InvalidOption(who + "expected agents of its own below " + std::to_string(size()) + ", got " +
                            std::to_string(agent));
      }
      owners_[static_cast<std::size_t>(agent)] = rank;
      limits_[static_cast<std::size_t>(agent)] = reader.get<Scalar>();
    }
  }

  Round<Backend> round_of(Mail kind, std::span<const BatchOrder<Backend>> orders) const {
    Round<Backend> round{.kind = kind, .gains = {}, .orders = {}};
    std::vector<Index> keys;  // of the gains: the same version, or question, is the same gain
    for (const BatchOrder<Backend>& order : orders) {
      const Index key = kind == Mail::work ? order.version : order.number;
      std::size_t place = keys.size();
      while (place > 0 && keys[place - 1] != key) --place;
      if (place == 0) {
        keys.push_back(key);
        round.gains.push_back(*order.gain);
        place = keys.size();
      }
      round.orders.push_back({.agent = order.agent,
                              .number = order.number,
                              .version = order.version,
                              .reported = reported_[static_cast<std::size_t>(order.agent)],
                              .gain = static_cast<Index>(place) - 1});
    }
    return round;
  }

  /// Has the ranks work on orders, which each answers in their order. `take(agent, reader)` reads an answer.
  template <class Take>
  void carry_out(Mail kind, std::span<const BatchOrder<Backend>> orders, const Take& take) {
    const std::vector<Bytes> contents = say(round_of(kind, orders));
    std::vector<ByteReader> readers(contents.begin(), contents.end());
    for (ByteReader& reader : readers) reader.get<std::uint8_t>();
    for (const BatchOrder<Backend>& order : orders) {
      ByteReader& reader = readers[static_cast<std::size_t>(rank_of(order.agent)) - 1];
      require_mail(reader.get<Index>() == order.agent, "an answer to each order");
      take(order.agent, reader);
    }
    for (const ByteReader& reader : readers) reader.require_end();
  }
  int rank_of(Index agent) const { return owners_[static_cast<std::size_t>(agent)]; }

  /// What the ranks say to a round. Throws if one of them failed.
  std::vector<Bytes> say(const Round<Backend>& round) {
    over_ = true;  // if it throws here, it does at all ranks
    ranks_.broadcast_of([&] { return to_mail(round); });
    std::vector<Bytes> contents = ranks_.gather({});
    over_ = false;
    contents.erase(contents.begin());  // its own
    for (std::size_t i = 0; i < contents.size(); ++i) require_success(static_cast<int>(i) + 1, contents[i]);
    return contents;
  }

  mpi::Communicator& ranks_;
  Gain shape_;
  std::vector<Scalar> limits_;
  std::vector<Index> reported_;
  std::vector<int> owners_;  // ranks
  bool over_ = false;        // at the other ranks
};

}  // namespace metalqr::inline METALQR_ABI::federated::detail
