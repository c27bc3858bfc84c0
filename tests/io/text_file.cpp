#include <metalqr/io/text_file.hpp>

#include <string>

#include "catch.hpp"
#include "folder.hpp"
#include "support.hpp"

TEST_CASE("a file is read as it is, with zero bytes and beyond the size of a buffer") {
  const test::Folder folder;
  CHECK(metalqr::io::read_text(folder.write("empty", "")).empty());
  std::string text(100000, 'x');
  text[50000] = '\0';
  text += "\r\n";
  CHECK(metalqr::io::read_text(folder.write("long", text)) == text);
}

TEST_CASE("a file that cannot be read is named with the reason") {
  const test::Folder folder;
  const auto reason = [&](const std::string& path) {
    return test::message_of<metalqr::ParseError>([&] { metalqr::io::read_text(path); });
  };
  CHECK(reason(folder.file("none")) ==
        folder.file("none") + ": expected a readable file, got 'No such file or directory'");
  CHECK(reason(folder.path().string()) ==
        folder.path().string() + ": expected a readable file, got 'Is a directory'");
  CHECK_THROWS_AS(metalqr::io::read_text(""), metalqr::ParseError);
}
