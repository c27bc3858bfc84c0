#pragma once

/// @file
/// What the server of a federated run hears (events) and says (commands). An engine carries these messages;
/// the server knows neither clock nor thread nor socket.

#include <limits>
#include <variant>

#include <metalqr/core/backend.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// An agent has finished its work at a gain that the server sent.
template <class Backend>
struct Report {
  using Scalar = typename Backend::Scalar;  ///< number type

  Index agent = 0;                                         ///< who, counted from 0
  Index version = 0;                                       ///< of the gain at which it worked
  typename Backend::Gain estimate{};                       ///< of the gradient of its cost, n_u x n_x
  Scalar cost = std::numeric_limits<Scalar>::quiet_NaN();  ///< J_i at that gain; NaN if it does not know
  double weight = 1;  ///< amount of data behind the estimate, which the server takes on trust
};

/// An agent's answer to `Ask`.
template <class Backend>
struct Verdict {
  Index agent = 0;                    ///< who
  Index candidate = 0;                ///< which one
  typename Backend::Scalar cost = 0;  ///< J_i of it; not finite if it does not stabilise
};

/// The time has come that `Wake` asked for.
struct Timer {
  Index id = 0;  ///< of the `Wake`
};

/// An agent is there, for the first time or again.
template <class Backend>
struct Joined {
  using Scalar = typename Backend::Scalar;  ///< number type

  Index agent = 0;  ///< who
  /// The largest cost that it accepts, not a NaN: as a rule J_i(K_0), which bounds its sub-level set.
  Scalar limit = std::numeric_limits<Scalar>::infinity();
};

/// An agent is gone, and may come back.
struct Left {
  Index agent = 0;  ///< who
};

/// What a server hears.
template <class Backend>
using Event = std::variant<Report<Backend>, Verdict<Backend>, Timer, Joined<Backend>, Left>;

/// Give a gain to an agent, to work at.
template <class Backend>
struct Send {
  Index agent = 0;                ///< to whom
  Index version = 0;              ///< of the gain
  typename Backend::Gain gain{};  ///< n_u x n_x
  bool restart = false;           ///< abandon what it is doing; else it ignores this while it works
};

/// Ask an agent what a gain costs.
template <class Backend>
struct Ask {
  Index agent = 0;                ///< whom
  Index candidate = 0;            ///< number of the question
  typename Backend::Gain gain{};  ///< n_u x n_x
};

/// A gain has become the current one; for the record.
template <class Backend>
struct Commit {
  Index version = 0;              ///< of the gain
  typename Backend::Gain gain{};  ///< n_u x n_x
  Index reports = 0;              ///< aggregated; 0 after a return to an earlier gain
  double step = 0;                ///< step size; 0 after a return
  Index refused = 0;              ///< after a return, the version that was refused; else 0
  Index unconfirmed = 0;          ///< after a return, the oldest version of those that led to the refused one
                                  ///< without having been accepted by all; itself, if there is no other
  Index refused_by = 0;           ///< after a return, the agent that refused it
};

/// A candidate has been given up; for the record.
struct Reject {
  Index candidate = 0;  ///< which one; 0: it was given up before anybody was asked
};

/// An agent is no longer counted as present, because it accepts no gain at all, not even the first; it may
/// join again. It need not work on.
struct Expel {
  Index agent = 0;  ///< who
};

/// Send a `Timer` after some time.
struct Wake {
  Index id = 0;      ///< of the timer
  double delay = 0;  ///< in the engine's unit of time
};

/// What a server says.
template <class Backend>
using Command = std::variant<Send<Backend>, Ask<Backend>, Commit<Backend>, Reject, Expel, Wake>;

}  // namespace metalqr::inline METALQR_ABI::federated
