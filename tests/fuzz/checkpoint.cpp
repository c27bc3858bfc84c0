/// Any text is a checkpoint or a `metalqr::ParseError`; what was read is the same when it is written and read
/// again, and so are the states in it. Mutations repair the checksum, so that the readers behind it are
/// reached.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/io/adaptive_state.hpp>
#include <metalqr/io/checkpoint.hpp>
#include <metalqr/io/meta_state.hpp>
#include <metalqr/io/safe_exploration_state.hpp>
#include <metalqr/io/server_state.hpp>
#include <metalqr/io/simulation_state.hpp>

#include "fuzz.hpp"
#include "json_mutator.hpp"

namespace {

using fuzz::Backend;
using fuzz::fail;
using fuzz::require;
namespace io = metalqr::io;

constexpr std::size_t longest = 16384;

/// What `read` makes of a state, if it is one, is what is read of it when it is written again.
template <class Read>
void check_state(const io::JsonDocument& document, const Read& read) {
  std::string text;
  try {
    text = io::to_json(read(document)).dump();
  } catch (const metalqr::Error& error) {
    require(error.what()[0] != '\0', "an error says what is wrong");
    return;
  }
  try {
    require(io::to_json(read(io::JsonDocument(text))).dump() == text, "a state comes back");
  } catch (const metalqr::Error& error) {
    fail(std::string("what was read is read again: ") + error.what());
  }
}

void check(const io::Checkpoint& checkpoint) {
  const io::Json& state = checkpoint.document.root().at("state");
  std::string text;
  try {
    text = io::checkpoint_text(checkpoint.kind(), checkpoint.fingerprint(), state);
  } catch (const metalqr::Error& error) {
    fail(std::string("what was read is written: ") + error.what());
  }
  const io::Checkpoint again = io::parse_checkpoint(text);
  require(again.kind() == checkpoint.kind() && again.damage.empty(), "the kind comes back");
  require(again.fingerprint().dump() == checkpoint.fingerprint().dump(), "the fingerprint comes back");
  require(again.document.root().at("state").dump() == state.dump(), "the state comes back");
  io::require_run(again, checkpoint.kind(), checkpoint.fingerprint());
  const io::JsonDocument document(state.dump());
  check_state(document, [](const io::JsonDocument& from) { return io::read_server_state<Backend>(from); });
  check_state(document, [](const io::JsonDocument& from) { return io::read_adaptive_state<Backend>(from); });
  check_state(document, [](const io::JsonDocument& from) { return io::read_meta_state<Backend>(from); });
  check_state(document,
              [](const io::JsonDocument& from) { return io::read_simulation_state<Backend>(from); });
  check_state(document,
              [](const io::JsonDocument& from) { return io::read_safe_exploration<Backend>(from); });
}

/// What is between the first line and the checksum, as far as there are such.
std::string body_of(std::string_view text) {
  const std::size_t first = text.find('\n');
  if (first != std::string_view::npos) text.remove_prefix(first + 1);
  text.remove_suffix(std::min(text.size(), io::detail::checksum_length));
  if (text.ends_with('\n')) text.remove_suffix(1);
  return std::string(text);
}

std::string checkpoint_of(const std::string& body) {
  const std::string text =
      std::string(io::detail::checkpoint_mark) + std::to_string(io::checkpoint_version) + "\n" + body + "\n";
  return text + io::detail::checksum_line(text);
}

}  // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t largest);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t largest,
                                               unsigned seed) {
  std::minstd_rand random(seed);
  const auto kind = random() % 16;
  if (kind == 0) return LLVMFuzzerMutate(data, size, largest);
  std::string body = body_of(fuzz::text_of(data, size));
  if (kind < 12) {
    body = fuzz::mutated_json(body, random);
  } else {
    std::vector<std::uint8_t> bytes(body.begin(), body.end());
    bytes.resize(std::max<std::size_t>(largest, 1));
    const std::size_t length = LLVMFuzzerMutate(bytes.data(), std::min(body.size(), largest), largest);
    body.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
  }
  const std::string text = checkpoint_of(body);
  if (text.size() > largest) return LLVMFuzzerMutate(data, size, largest);
  std::memcpy(data, text.data(), text.size());
  return text.size();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > longest) return -1;
  try {
    check(io::parse_checkpoint(fuzz::text_of(data, size)));
  } catch (const metalqr::ParseError& error) {
    require(error.what()[0] != '\0', "an error says what is wrong");
  }
  return 0;
}
