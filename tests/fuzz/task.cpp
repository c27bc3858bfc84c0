/// Any text is a task, a gain, or a `metalqr::Error`; what was read is valid, and comes back bitwise when it
/// is written and read again.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>

#include <metalqr/core/error.hpp>
#include <metalqr/io/json.hpp>

#include "fuzz.hpp"
#include "json_mutator.hpp"

namespace {

using fuzz::Backend;
using fuzz::require;
using fuzz::same_matrix;
using metalqr::io::Json;
using metalqr::io::JsonDocument;
using Task = metalqr::Task<Backend>;

constexpr std::size_t longest = 4096;

/// What `read` makes of it, or nothing if it throws what it may.
template <class Read>
auto attempt(const Read& read) -> std::optional<decltype(read())> {
  try {
    return read();
  } catch (const metalqr::Error& error) {
    require(error.what()[0] != '\0', "an error says what is wrong");
    return std::nullopt;
  }
}

void require_same(const Task& x, const Task& y) {
  require(same_matrix(x.A(), y.A()), "A comes back");
  require(same_matrix(x.B(), y.B()), "B comes back");
  require(same_matrix(x.Q(), y.Q()), "Q comes back");
  require(same_matrix(x.R(), y.R()), "R comes back");
  require(same_matrix(x.Sigma0(), y.Sigma0()), "Sigma0 comes back");
}

void check(const Task& task) {
  require(Backend::is_finite(task.Q()) && Backend::is_finite(task.R()) && Backend::is_finite(task.Sigma0()),
          "what is read is finite");
  try {
    const std::string text = metalqr::io::to_json(task).dump();
    require_same(metalqr::io::read_task<Backend>(JsonDocument(text)), task);
  } catch (const metalqr::Error& error) {
    fuzz::fail(std::string("what was read is read again: ") + error.what());
  }
}

}  // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t largest);

/// Half of the mutations keep the text valid.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t largest,
                                               unsigned seed) {
  std::minstd_rand random(seed);
  if (random() % 2 == 0) {
    const std::string text = fuzz::mutated_json(std::string(fuzz::text_of(data, size)), random);
    if (!text.empty() && text.size() <= largest) {
      std::memcpy(data, text.data(), text.size());
      return text.size();
    }
  }
  return LLVMFuzzerMutate(data, size, largest);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > longest) return -1;
  const auto text = fuzz::text_of(data, size);
  const auto document = attempt([&] { return JsonDocument(text); });
  if (!document) return 0;
  if (const auto task = attempt([&] { return metalqr::io::read_task<Backend>(*document); })) check(*task);
  if (const auto read = attempt([&] { return metalqr::io::read_task_with_cross_term<Backend>(*document); })) {
    check(read->task);
    require(read->N.rows() == read->task.nx() && read->N.cols() == read->task.nu(), "N is n_x x n_u");
  }
  if (const auto K = attempt([&] { return metalqr::io::read_gain<Backend>(*document); })) {
    const std::string again = Json{{"K", metalqr::io::to_json<Backend>(*K)}}.dump();
    require(same_matrix(metalqr::io::read_gain<Backend>(JsonDocument(again)), *K), "K comes back");
  }
  return 0;
}
