#include <metalqr/core/mpi.hpp>

#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "support.hpp"

namespace {

using metalqr::ByteReader;
using metalqr::Bytes;
using metalqr::ByteWriter;
namespace mpi = metalqr::mpi;

Bytes text(const std::string& content) {
  ByteWriter writer;
  writer.put_text(content);
  return writer.take();
}

// Of another length on each rank; empty on the first.
Bytes content_of(int rank) {
  return Bytes(static_cast<std::size_t>(3 * rank), static_cast<std::byte>(rank));
}

}  // namespace

TEST_CASE("each rank gets what each handed over, in the order of the ranks") {
  mpi::Communicator ranks;
  const auto all = ranks.all_gather(content_of(ranks.rank()));
  REQUIRE(all.size() == static_cast<std::size_t>(ranks.size()));
  for (int r = 0; r < ranks.size(); ++r) CHECK(all[static_cast<std::size_t>(r)] == content_of(r));
  for (int root = 0; root < ranks.size(); ++root) {
    const auto gathered = ranks.gather(content_of(ranks.rank()), root);
    if (ranks.rank() == root) CHECK(gathered == all);
    if (ranks.rank() != root) CHECK(gathered.empty());
  }
  for (const Bytes& nothing : ranks.all_gather({})) CHECK(nothing.empty());
}

TEST_CASE("one rank's content goes to all") {
  mpi::Communicator ranks;
  for (int root = 0; root < ranks.size(); ++root) {
    const Bytes got = ranks.broadcast_of(
        [&] {
          CHECK(ranks.rank() == root);
          return text("from " + std::to_string(root));
        },
        root);
    CHECK(got == text("from " + std::to_string(root)));
    std::vector<double> numbers(3, ranks.rank() + 0.5);
    ranks.broadcast(std::as_writable_bytes(std::span(numbers)), root);
    CHECK(numbers == std::vector<double>(3, root + 0.5));
  }
}

TEST_CASE("ranks agree on the least, the most, the sum and on yes or no") {
  mpi::Communicator ranks;
  const int last = ranks.size() - 1;
  CHECK(ranks.smallest(10 - ranks.rank()) == 10 - last);
  CHECK(ranks.largest(10 - ranks.rank()) == 10);
  CHECK(ranks.sum(ranks.rank() + 1) == (last + 1) * (last + 2) / 2);
  CHECK(ranks.all(true));
  CHECK_FALSE(ranks.any(false));
  CHECK(ranks.all(ranks.rank() != last) == false);
  CHECK(ranks.any(ranks.rank() == last));
  ranks.barrier();
}

TEST_CASE("a failure of one rank in a common step is a failure of all, which can go on") {
  mpi::Communicator ranks;
  for (int failing = 0; failing < ranks.size(); ++failing) {
    const auto work = [&]() -> Bytes {
      if (ranks.rank() == failing) throw metalqr::InvalidOption("radius: got -1");
      return text("fine");
    };
    const std::string expected = "rank " + std::to_string(failing) + ": radius: got -1";
    const auto check = [&](const auto& step) {
      if (ranks.rank() == failing) {
        CHECK(test::message_of<metalqr::InvalidOption>(step) == "radius: got -1");
      } else {
        CHECK(test::message_of<mpi::RemoteError>(step) == expected);
      }
      ranks.barrier();
    };
    check([&] { ranks.all_gather_of(work); });
    check([&] { ranks.together([&] { work(); }); });
    check([&] { ranks.broadcast_of(work, failing); });
    CHECK(ranks.all_gather_of([&] { return content_of(ranks.rank()); }).back() ==
          content_of(ranks.size() - 1));
  }
}

TEST_CASE("the first of several failing ranks is named, and any exception is told") {
  mpi::Communicator ranks;
  if (ranks.size() < 3) return;
  try {
    ranks.together([&] {
      if (ranks.rank() == 1) throw 7;
      if (ranks.rank() > 1) throw metalqr::ParseError("mine");
    });
    FAIL("no exception");
  } catch (const mpi::RemoteError& error) {
    CHECK(ranks.rank() == 0);
    CHECK(error.rank() == 1);
    CHECK(error.what() == std::string("rank 1: an exception of unknown type"));
  } catch (const metalqr::ParseError& error) {
    CHECK(ranks.rank() > 1);
    CHECK(error.what() == std::string("mine"));
  } catch (int number) {
    CHECK(ranks.rank() == 1);
    CHECK(number == 7);
  }
}

TEST_CASE("messages from rank to rank arrive in order, with tag and length") {
  mpi::Communicator ranks;
  const int next = (ranks.rank() + 1) % ranks.size();
  const int previous = (ranks.rank() + ranks.size() - 1) % ranks.size();
  if (ranks.size() > 1) {
    // Small messages do not wait for their receiver.
    ranks.send(next, 5, text("first"));
    ranks.send(next, 6, {});
    ranks.send(next, 5, text("third"));
    const mpi::Message first = ranks.receive();
    CHECK(first.source == previous);
    CHECK(first.tag == 5);
    CHECK(first.content == text("first"));
    CHECK(ranks.receive(previous, 5).content == text("third"));
    CHECK(ranks.receive(previous, 6).content.empty());
  }
  CHECK_FALSE(ranks.try_receive().has_value());
  ranks.barrier();
}

TEST_CASE("traffic is what is handed over and got, and none with one rank") {
  mpi::Communicator ranks;
  const auto others = static_cast<std::uint64_t>(ranks.size() - 1);
  const std::uint64_t alone = others == 0 ? 0 : 1;
  const mpi::Traffic before = ranks.traffic();
  ranks.all_gather(Bytes(10));
  const mpi::Traffic all = ranks.traffic().since(before);
  CHECK(all.collectives == 2);
  CHECK(all.sent_bytes == alone * (16 + 10));
  CHECK(all.received_bytes == others * (16 + 10));
  CHECK(all.sent == 0);
  if (others == 0) return;
  const int next = (ranks.rank() + 1) % ranks.size();
  ranks.send(next, 1, Bytes(7));
  ranks.receive();
  const mpi::Traffic message = ranks.traffic().since(before);
  CHECK(message.sent == 1);
  CHECK(message.received == 1);
  CHECK(message.sent_bytes - all.sent_bytes == 7);
  CHECK(message.received_bytes - all.received_bytes == 7);
}

TEST_CASE("an error of MPI is thrown with what MPI says") {
  mpi::Communicator ranks;
  const int nobody = ranks.size();
  const auto message = test::message_of<mpi::MpiError>([&] { ranks.send(nobody, 0, Bytes(1)); });
  CHECK(message.rfind("MPI_Send: ", 0) == 0);
  CHECK(message.find("rank") != std::string::npos);
}

TEST_CASE("a second start of MPI changes nothing, and does not end it") {
  { const mpi::Session again; }
  mpi::Communicator ranks;
  CHECK(ranks.all(true));
  const mpi::Communicator of_these(ranks.handle());
  CHECK(of_these.size() == ranks.size());
  CHECK(of_these.rank() == ranks.rank());
}
