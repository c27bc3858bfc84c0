#pragma once

/// @file
/// Pictures by gnuplot, as SVG and PNG, from the CSV files beside them.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <metalqr/io/atomic_file.hpp>

namespace examples {

/// A picture: its script draws the panels and names the CSV files relative to its own folder.
struct Picture {
  std::string name;    ///< of NAME.gp, NAME.svg and NAME.png
  int width = 1200;    ///< pixels
  int height = 480;    ///< pixels
  std::string script;  ///< gnuplot commands; `c_blue` ... `c_black` are colours that everybody can tell apart
};

namespace detail {

/// Runs gnuplot in a folder and waits for it: its exit status; 127 if it is not there.
inline int run_gnuplot(const std::filesystem::path& folder, const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  std::string program = "gnuplot";
  std::vector<std::string> copies = arguments;
  argv.push_back(program.data());
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const std::string where = folder.empty() ? "." : folder.string();
  const ::pid_t child = ::fork();
  if (child < 0) return 126;
  if (child == 0) {
    const int null = ::open("/dev/null", O_RDWR);
    if (null < 0 || ::dup2(null, STDIN_FILENO) < 0 || ::dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ||
        ::chdir(where.c_str()) != 0) {
      ::_exit(126);
    }
    ::execvp("gnuplot", argv.data());
    ::_exit(errno == ENOENT ? 127 : 126);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return 126;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

/// What stands above the picture's own commands. The colours are those of Okabe and Ito.
inline std::string prelude(const Picture& picture) {
  const std::string size = std::to_string(picture.width) + "," + std::to_string(picture.height);
  return "# gnuplot " + picture.name + ".gp draws " + picture.name + ".svg\n" +
         "# gnuplot -e \"format = 'png'\" " + picture.name + ".gp draws " + picture.name + ".png\n" +
         "if (!exists('format')) format = 'svg'\n"
         "if (format eq 'png') {\n"
         "  set terminal pngcairo size " +
         size +
         " font 'Sans,12' background 'white'\n"
         "} else {\n"
         "  set terminal svg size " +
         size +
         " font 'Sans,14' background 'white'\n"
         "}\n"
         "set output '" +
         picture.name + ".'.format\n" + R"(set encoding utf8
set datafile separator ','
set datafile missing 'nan'
c_blue = '#0072B2'; c_red = '#D55E00'; c_green = '#009E73'; c_orange = '#E69F00'
c_pink = '#CC79A7'; c_sky = '#56B4E9'; c_grey = '#888888'; c_black = '#000000'
set border lc rgb '#444444'
set grid lc rgb '#cccccc' lw 1
set key samplen 2 spacing 1.15
)";
}

}  // namespace detail

/// Writes NAME.gp into `folder` and lets gnuplot draw NAME.svg and NAME.png there. Without gnuplot it says so
/// in one line on stderr.
/// @return the names of the files that exist now, script first.
inline std::vector<std::string> draw(const std::filesystem::path& folder, const Picture& picture) {
  const std::string script = picture.name + ".gp";
  metalqr::io::write_atomically((folder / script).string(),
                                detail::prelude(picture) + picture.script + "\nunset output\n");
  std::vector<std::string> files{script};
  for (const std::string format : {"svg", "png"}) {
    const int status = detail::run_gnuplot(folder, {"-e", "format = '" + format + "'", script});
    if (status == 127) {
      std::cerr << "There is no gnuplot here; with it, 'gnuplot " << script << "' in " << folder.string()
                << " draws the picture.\n";
      break;
    }
    if (status != 0) {
      std::cerr << "gnuplot failed on " << (folder / script).string() << " (status " << status << ").\n";
      continue;
    }
    files.push_back(picture.name + "." + format);
  }
  return files;
}

}  // namespace examples
