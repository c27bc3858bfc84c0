#include <metalqr/io/digest.hpp>

#include <bit>
#include <cstdint>
#include <set>
#include <string>

#include <metalqr/core/eigen.hpp>

#include "support.hpp"

namespace {

using metalqr::io::digest;
using metalqr::io::fnv1a;
using metalqr::io::hex;
using Backend = metalqr::EigenBackend<>;

}  // namespace

TEST_CASE("the digest of a text is that of the published test vectors") {
  CHECK(hex(fnv1a("")) == "cbf29ce484222325");
  CHECK(hex(fnv1a("a")) == "af63dc4c8601ec8c");
  CHECK(hex(fnv1a("foobar")) == "85944171f73967e8");
  CHECK(fnv1a("bar", fnv1a("foo")) == fnv1a("foobar"));
  CHECK(hex(0) == "0000000000000000");
  CHECK(hex(0x0123456789abcdef) == "0123456789abcdef");
}

TEST_CASE("the digest of a matrix is that of its bytes, row by row") {
  Backend::Gain K(2, 2);
  K << 1, -2, 0.5, 0;
  // 1 = 0x3ff0..., -2 = 0xc000..., 0.5 = 0x3fe0..., each from the lowest byte.
  const std::string bytes("\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\xc0\0\0\0\0\0\0\xe0\x3f\0\0\0\0\0\0\0\0", 32);
  CHECK(digest<Backend>(K) == fnv1a(bytes));
  CHECK(digest<Backend>(K, fnv1a("K")) == fnv1a("K" + bytes));
  const metalqr::EigenBackend<float>::Gain narrow = K.cast<float>();
  CHECK(digest<metalqr::EigenBackend<float>>(narrow) == fnv1a(bytes));
}

TEST_CASE("gains that differ in one bit have different digests") {
  Backend::Gain K(1, 2);
  K << 0.1, -0.3;
  std::set<std::uint64_t> seen{digest<Backend>(K)};
  for (Backend::Gain::Index j = 0; j < 2; ++j) {
    for (int bit = 0; bit < 64; ++bit) {
      Backend::Gain other = K;
      other(0, j) = std::bit_cast<double>(std::bit_cast<std::uint64_t>(K(0, j)) ^ std::uint64_t{1} << bit);
      seen.insert(digest<Backend>(other));
    }
  }
  CHECK(seen.size() == 129);
  K << 0.0, 0.0;
  Backend::Gain minus = K;
  minus(0, 1) = -0.0;
  CHECK(digest<Backend>(K) != digest<Backend>(minus));
}
