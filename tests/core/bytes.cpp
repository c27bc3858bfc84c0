#include <metalqr/core/bytes.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "support.hpp"

using metalqr::ByteReader;
using metalqr::Bytes;
using metalqr::ByteWriter;
using test::Backend;

TEST_CASE("values come out as they were put in, bit by bit") {
  ByteWriter out;
  out.put(3);
  out.put(-0.0);
  out.put(true);
  out.put(std::uint64_t{1} << 63U);
  out.put(0.1L);
  out.put_text("two words");
  out.put_text("");
  metalqr::Stream stream = test::stream(41);
  const Backend::Gain K = test::gain(test::random_matrix(2, 3, stream));
  out.put_entries<Backend>(K);
  ByteReader in(out.bytes());
  CHECK(in.get<int>() == 3);
  CHECK(std::signbit(in.get<double>()));
  CHECK(in.get<bool>());
  CHECK(in.get<std::uint64_t>() == std::uint64_t{1} << 63U);
  CHECK(in.get<long double>() == 0.1L);
  CHECK(in.get_text() == "two words");
  CHECK(in.get_text().empty());
  CHECK(in.left() == 6 * sizeof(double));
  CHECK_THROWS_AS(in.require_end(), metalqr::ParseError);
  Backend::Gain copy = Backend::zero_gain(2, 3);
  in.get_entries<Backend>(copy);
  CHECK(test::dense(copy).entries == test::dense(K).entries);
  CHECK(in.left() == 0);
  in.require_end();
}

TEST_CASE("equal numbers give equal bytes") {
  const auto bytes = [](long double x) {
    ByteWriter out;
    out.put(x);
    return out.take();
  };
  volatile long double third = 1;
  third = third / 3;
  CHECK(bytes(third) == bytes(1.0L / 3));
  CHECK(bytes(third) != bytes(std::nextafter(1.0L / 3, 1.0L)));
}

TEST_CASE("a message that is too short or too long is refused") {
  ByteWriter out;
  out.put(1);
  const auto message = [&](const auto& read) {
    return test::message_of<metalqr::ParseError>([&] {
      ByteReader in(out.bytes());
      read(in);
    });
  };
  CHECK(message([](ByteReader& in) { in.get<double>(); }) == "message: expected 8 more bytes after 0, got 4");
  CHECK(message([](ByteReader& in) { in.require_end(); }) ==
        "message: expected its end after 0 bytes, got 4 more");
  out = {};
  out.put(std::numeric_limits<std::uint64_t>::max());
  CHECK(message([](ByteReader& in) { in.get_text(); }) ==
        "message: expected 18446744073709551615 more bytes after 8, got 0");
}
