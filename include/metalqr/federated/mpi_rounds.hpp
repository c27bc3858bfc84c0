#pragma once

/// @file
/// Runs in virtual time whose agents work in other processes, by collective calls. Needs the component `mpi`.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/core/mpi.hpp>
#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/mpi_carrier.hpp>
#include <metalqr/federated/mpi_collective.hpp>
#include <metalqr/federated/mpi_message.hpp>
#include <metalqr/federated/profile.hpp>
#include <metalqr/federated/run_result.hpp>
#include <metalqr/federated/virtual_time.hpp>
#include <metalqr/lqr/descent.hpp>

namespace metalqr::inline METALQR_ABI::federated {

namespace detail {

/// A call of `work_in_rounds`.
template <Agents AgentsType>
class RoundsWorker {
 public:
  using Backend = typename AgentsType::Backend;
  using Gain = typename Backend::Gain;

  RoundsWorker(mpi::Communicator& ranks, AgentsType& agents, Index first, const Gain& shape)
      : ranks_(ranks),
        agents_(agents),
        first_(first),
        shape_(Backend::zero_like(shape)),
        reported_(static_cast<std::size_t>(agents.size()), -1) {}

  void run() {
    hand_over([this](ByteWriter& writer) {
      writer.put(Backend::rows(shape_));
      writer.put(Backend::cols(shape_));
      writer.put(first_);
      for (Index agent = 0; agent < agents_.size(); ++agent) writer.put(agents_.limit(agent));
    });
    try {
      ranks_.broadcast_of([] { return Bytes{}; });
    } catch (const mpi::RemoteError&) {
      if (failure_) std::rethrow_exception(failure_);
      throw;
    }
    for (;;) {
      const Bytes content = ranks_.broadcast_of([] { return Bytes{}; });
      const auto read = [&] {
        Round<Backend> round = read_round<Backend>(content, shape_);
        note_taken(round);
        return round;
      };
      if (is_stop(content)) {
        try {
          read();
        } catch (...) {
          if (!failure_) throw;
        }
        break;
      }
      hand_over([&](ByteWriter& writer) { answer(read(), writer); });
    }
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  bool owns(Index agent) const { return agent >= first_ && agent - first_ < agents_.size(); }

  /// Hands over what `write` writes, or that it threw: the others wait for something.
  template <class Write>
  void hand_over(const Write& write) {
    ByteWriter writer;
    try {
      writer.put(std::uint8_t{0});
      write(writer);
    } catch (const std::exception& error) {
      fail(writer, error.what());
    } catch (...) {
      fail(writer, "something that is no std::exception");
    }
    ranks_.gather(writer.bytes());
  }
  void fail(ByteWriter& writer, const char* message) {
    failure_ = std::current_exception();
    writer = {};
    writer.put(std::uint8_t{1});
    writer.put_text(message);
  }

  void note_taken(const Round<Backend>& round) {
    for (const auto& order : round.orders) {
      if (!owns(order.agent)) continue;
      Index& reported = reported_[static_cast<std::size_t>(order.agent - first_)];
      if (order.reported <= reported) continue;
      reported = order.reported;
      note_reported(agents_, order.agent - first_, reported);
    }
  }

  void answer(const Round<Backend>& round, ByteWriter& writer) {
    for (const auto& order : round.orders) {
      if (!owns(order.agent)) continue;
      const Gain& gain = round.gains[static_cast<std::size_t>(order.gain)];
      writer.put(order.agent);
      if (round.kind == Mail::question) {
        writer.put(agents_.cost(order.agent - first_, order.number, gain));
        continue;
      }
      Report<Backend> report = report_on(agents_, order.agent - first_, order.number, order.version, gain);
      if (Backend::rows(report.estimate) != Backend::rows(shape_) ||
          Backend::cols(report.estimate) != Backend::cols(shape_)) {
        report.estimate = no_estimate<Backend>(shape_);
      }
      writer.put(report.version);
      writer.put(report.cost);
      writer.put(report.weight);
      writer.put_entries<Backend>(report.estimate);
    }
  }

  mpi::Communicator& ranks_;
  AgentsType& agents_;
  Index first_;
  Gain shape_;
  std::vector<Index> reported_;  // of each agent the last piece of work that the server took
  std::exception_ptr failure_;
};

}  // namespace detail

/// `simulate` with agents at the other ranks, each of which calls `work_in_rounds`: the same result, bitwise.
/// All that are at work when a report is due work at once, each rank at its own, between two collective
/// calls: with `Synchronous` that is one round of everybody. Time is virtual, and says nothing about the
/// machine. Everybody waits for everybody: where a rank may be slow, or hang, use `serve`.
/// @param ranks the same as the workers', at least two.
/// @param agents how many the other ranks own together, each one of them.
/// @throws what `simulate` throws; InvalidOption at another rank than 0, without others, or if not each agent
/// has one rank; DimensionMismatch if a rank has gains of another shape; mpi::RemoteError if an agent throws.
template <class ServerType, class Observer = NoObserver>
RunResult<typename ServerType::Backend> serve_rounds(mpi::Communicator& ranks, ServerType& server,
                                                     Index agents, std::span<const AgentProfile> profiles,
                                                     const VirtualTimeOptions& options = {},
                                                     Observer&& observer = {}) {
  using Backend = typename ServerType::Backend;
  detail::require_server(ranks);
  detail::CollectiveAgents<Backend> remote(ranks, agents, server.gain(), [&] {
    detail::require_agents(agents);
    detail::require_profiles(profiles, agents);
    validate(options);
  });
  try {
    RunResult<Backend> result = simulate(server, remote, profiles, options, observer);
    remote.stop();
    return result;
  } catch (const mpi::MpiError&) {
    throw;
  } catch (...) {
    remote.stop();
    throw;
  }
}

/// Does what the server at rank 0 asks of the agents of this rank, until the end of its `serve_rounds`.
/// @param agents those of this rank, counted from 0 here; see `AgentOptions::first`.
/// @param first number of the first of them in the fleet.
/// @param shape a matrix of the gain's shape.
/// @throws what `agents` throws, after the end; InvalidOption at rank 0; mpi::RemoteError if what the ranks
/// own does not fit together, or rank 0 throws at the begin for another reason; ParseError for orders that
/// are none.
template <Agents AgentsType>
void work_in_rounds(mpi::Communicator& ranks, AgentsType& agents, Index first,
                    const typename AgentsType::Backend::Gain& shape) {
  detail::require_worker(ranks);
  detail::RoundsWorker<AgentsType>(ranks, agents, first, shape).run();
}

}  // namespace metalqr::inline METALQR_ABI::federated
