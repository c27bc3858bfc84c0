#include <metalqr/io/mpi_checkpoint.hpp>

#include <functional>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "folder.hpp"
#include "meta/setting.hpp"
#include "support.hpp"

namespace {

namespace io = metalqr::io;
namespace meta = metalqr::meta;
namespace mpi = metalqr::mpi;
using metalqr::Shard;
using test::Backend;
using Info = meta::Info<Backend>;
using Run = io::CheckpointedRun<meta::Result<Backend>>;
using Tasks = std::vector<metalqr::Task<Backend>>;
using Watch = std::function<bool(const Info&)>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::size_t total = 37;
const Watch nobody = [](const Info&) { return false; };

const Tasks& tasks() {
  static const Tasks fleet = test::fleet<Backend>(test::Start::code, 21, total);
  return fleet;
}
Tasks own_of(const mpi::Communicator& ranks) {
  const Shard shard = metalqr::shard_of(total, ranks.size(), ranks.rank());
  const auto first = tasks().begin() + static_cast<std::ptrdiff_t>(shard.first);
  return {first, first + static_cast<std::ptrdiff_t>(shard.count)};
}
// Second order carries lists of matrices, too.
meta::Options options(int iterations, meta::Order order = meta::Order::second) {
  return {.order = order, .iterations = iterations, .tolerance = 0, .seed = 5, .threads = 1};
}
io::CheckpointOptions at(const std::string& path) {
  return {.path = path, .every = 2, .seconds = infinity};
}
Run on(mpi::Communicator& ranks, const meta::Options& what, const std::string& path,
       const Watch& watch = nobody) {
  return io::train_or_resume_with_models(ranks, own_of(ranks), test::first_gain<Backend>(), what, at(path),
                                         watch);
}
Run alone(const meta::Options& what, const std::string& path) {
  return io::train_or_resume_with_models(tasks(), test::first_gain<Backend>(), what, at(path), nobody);
}

void check_same(const meta::Result<Backend>& x, const meta::Result<Backend>& y) {
  CHECK(test::same(x.gain, y.gain));
  CHECK(x.status == y.status);
  CHECK(x.iterations == y.iterations);
  CHECK(x.calls.total() == y.calls.total());
  CHECK(x.guard_refusals == y.guard_refusals);
  CHECK(x.reduced_inner_steps == y.reduced_inner_steps);
}

// A folder of the first rank's that all know.
class SharedFolder {
 public:
  explicit SharedFolder(mpi::Communicator& ranks) : ranks_(ranks) {
    path_ = mpi::detail::text_of(ranks.broadcast_of([&] {
      folder_.emplace();
      return mpi::detail::bytes_of(folder_->path().string());
    }));
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  SharedFolder(SharedFolder&&) = delete;
  SharedFolder& operator=(SharedFolder&&) = delete;
  ~SharedFolder() { MPI_Barrier(ranks_.handle()); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  mpi::Communicator& ranks_;
  std::optional<test::Folder> folder_;
  std::string path_;
};

// Calls `run` on every second rank, with their own communicator.
template <class Run_>
void on_half(const mpi::Communicator& ranks, const Run_& run) {
  MPI_Comm half = MPI_COMM_NULL;
  REQUIRE(MPI_Comm_split(ranks.handle(), ranks.rank() % 2 == 0 ? 0 : MPI_UNDEFINED, ranks.rank(), &half) ==
          MPI_SUCCESS);
  if (half == MPI_COMM_NULL) return;
  {
    mpi::Communicator own(half);
    run(own);
  }
  MPI_Comm_free(&half);
}

}  // namespace

TEST_CASE("a run on ranks that is interrupted goes on from its checkpoint, bitwise as one process") {
  mpi::Communicator ranks;
  const SharedFolder folder(ranks);
  const auto whole = meta::train_with_models(tasks(), test::first_gain<Backend>(), options(9));
  const std::string path = folder.file("run");
  const Run first = on(ranks, options(4), path);
  CHECK(first.checkpoints.written == 2);
  CHECK(first.checkpoints.resumed_from.empty());
  // Thrown on one rank after iteration 7, which is one after the last checkpoint.
  const int failing = ranks.size() - 1;
  const auto killed = [&] {
    on(ranks, options(9), path, [&](const Info& info) -> bool {
      if (info.record.iteration == 7 && ranks.rank() == failing) throw std::runtime_error("power failure");
      return false;
    });
  };
  if (ranks.rank() == failing) {
    CHECK(test::message_of<std::runtime_error>(killed) == "power failure");
  } else {
    CHECK(test::message_of<mpi::RemoteError>(killed) ==
          "rank " + std::to_string(failing) + ": power failure");
  }
  std::vector<int> seen;
  const Run last = on(ranks, options(9), path, [&](const Info& info) {
    seen.push_back(info.record.iteration);
    return false;
  });
  CHECK(seen == std::vector<int>{7, 8, 9});
  CHECK(last.checkpoints.resumed_from == path);
  CHECK(last.checkpoints.damage.empty());
  CHECK(last.checkpoints.written == 2);
  check_same(last.result, whole);
  // It has ended, and is given back at once.
  const Run again = on(ranks, options(9), path);
  CHECK(again.result.history.empty());
  check_same(again.result, whole);
}

TEST_CASE("the number of ranks may be another when a run goes on") {
  mpi::Communicator ranks;
  const SharedFolder folder(ranks);
  const auto whole = meta::train_with_models(tasks(), test::first_gain<Backend>(), options(7));
  const std::string path = folder.file("run");
  on_half(ranks, [&](mpi::Communicator& half) { CHECK(on(half, options(3), path).result.iterations == 3); });
  ranks.barrier();
  const Run more = on(ranks, options(5), path);
  CHECK(more.checkpoints.resumed_from == path);
  CHECK(more.result.history.size() == 2);
  // The files are those of one process, down to the digest of the tasks.
  if (ranks.rank() == 0) {
    const Run rest = alone(options(6), path);
    CHECK(rest.checkpoints.resumed_from == path);
    CHECK(rest.result.history.size() == 1);
  }
  ranks.barrier();
  const Run rest = on(ranks, options(7), path);
  CHECK(rest.result.history.size() == 1);
  check_same(rest.result, whole);
}

TEST_CASE("fleets of any kind and oracles have checkpoints on ranks as in one process") {
  mpi::Communicator ranks;
  const SharedFolder folder(ranks);
  const Tasks own = own_of(ranks);
  const auto K0 = test::first_gain<Backend>();
  const auto what = options(3, meta::Order::first);
  const auto more = options(5, meta::Order::first);
  io::train_or_resume(ranks, own, K0, what, at(folder.file("oracles")), nobody);
  const Run oracles = io::train_or_resume(ranks, own, K0, more, at(folder.file("oracles")), nobody);
  CHECK(oracles.result.history.size() == 2);
  check_same(oracles.result, meta::train(tasks(), K0, more));

  std::optional<metalqr::zeroth_order::ModelFleet<Backend>> fleet;
  if (!own.empty()) fleet.emplace(own);
  const auto* const part = fleet ? &*fleet : nullptr;
  io::train_or_resume(ranks, part, K0, what, at(folder.file("fleet")), nobody);
  ranks.barrier();
  if (ranks.rank() == 0) {
    const metalqr::zeroth_order::ModelFleet<Backend> all(tasks());
    const Run rest = io::train_or_resume(all, K0, more, at(folder.file("fleet")), nobody);
    CHECK(rest.result.history.size() == 2);
    check_same(rest.result, meta::train(all, K0, more));
  }
}

TEST_CASE("what fails at the files fails on all ranks") {
  mpi::Communicator ranks;
  const SharedFolder folder(ranks);
  const auto check_failure = [&](const auto& error, const std::string& words, const auto& run) {
    using Exception = std::decay_t<decltype(error)>;
    const std::string message =
        ranks.rank() == 0 ? test::message_of<Exception>(run) : test::message_of<mpi::RemoteError>(run);
    CHECK(message.find(words) != std::string::npos);
    if (ranks.rank() != 0) CHECK(message.rfind("rank 0: ", 0) == 0);
    CHECK(ranks.all(true));
  };
  const std::string nowhere = folder.file("missing/run");
  check_failure(metalqr::FileError(""), nowhere, [&] { on(ranks, options(3), nowhere); });
  const std::string path = folder.file("run");
  on(ranks, options(2), path);
  meta::Options others = options(3);
  others.seed = 6;
  check_failure(metalqr::InvalidOption(""), "options.seed: expected 6, got 5",
                [&] { on(ranks, others, path); });
  // What the ranks find out from the state, all of them do.
  CHECK(test::message_of<metalqr::InvalidOption>([&] { on(ranks, options(1), path); }) ==
        path + ": the checkpoint is beyond the end of this run: iterations: expected a number >= 2, got 1");
  CHECK(ranks.all(true));
  check_failure(metalqr::InvalidOption(""), "path: expected the name of a file",
                [&] { on(ranks, options(3), ""); });
}

TEST_CASE("lists that do not fit together fail on all ranks, after they were handed over") {
  mpi::Communicator ranks;
  const SharedFolder folder(ranks);
  io::CheckpointOptions every = at(folder.file("run"));
  every.every = 1;
  io::detail::RankCheckpoints<Backend> checkpoints(ranks, every, io::Json::object());
  meta::State<Backend> state;
  state.descent.K = test::first_gain<Backend>();
  state.curvature_directions.push_back(Backend::Gain::Zero(1, 1));
  const auto write = [&] { checkpoints.iteration(state); };
  if (ranks.rank() == 0) {
    CHECK(test::message_of<metalqr::ParseError>(write).find("message: expected") == 0);
  } else {
    CHECK(test::message_of<mpi::RemoteError>(write).find("rank 0: message: expected") == 0);
  }
  // They are together, and what fits is written.
  state.curvature_directions.clear();
  checkpoints.iteration(state);
  CHECK(checkpoints.report().written == 1);
}
