# Run after a test executable is built: writes SCRIPT, which registers one ctest entry per test case.
# Catch2 2 and 3 list their tests under different options; long test cases carry the tag [long].

string(ASCII 29 semicolon)
string(ASCII 30 left)
string(ASCII 31 right)

function(list_tests spec result)
  foreach(options "--list-test-names-only" "--list-tests;--verbosity;quiet")
    execute_process(COMMAND ${EXECUTABLE} ${spec} ${options}
                    OUTPUT_VARIABLE output ERROR_VARIABLE error RESULT_VARIABLE status)
    # Catch2 2 exits with the number of tests it listed.
    if(status MATCHES "^[0-9]+$" AND error STREQUAL "")
      # Semicolons and brackets mean something in a CMake list.
      string(REPLACE ";" "${semicolon}" output "${output}")
      string(REPLACE "[" "${left}" output "${output}")
      string(REPLACE "]" "${right}" output "${output}")
      string(REGEX MATCHALL "[^\n]+" names "${output}")
      set(${result} "${names}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "${EXECUTABLE} does not list its tests: ${status}\n${output}${error}")
endfunction()

set(script)
foreach(spec "~[.]~[long]" "[long]")
  set(labels ${FOLDER})
  if(spec STREQUAL "[long]")
    set(labels "${FOLDER};long")
  endif()
  list_tests(${spec} names)
  foreach(name IN LISTS names)
    string(STRIP "${name}" name)
    string(REPLACE "${semicolon}" ";" name "${name}")
    string(REPLACE "${left}" "[" name "${name}")
    string(REPLACE "${right}" "]" name "${name}")
    string(REGEX REPLACE "([][\\,\"])" "\\\\\\1" pattern "${name}")
    string(APPEND script
           "add_test([==[${FOLDER}: ${name}]==] [==[${EXECUTABLE}]==] [==[${pattern}]==])\n"
           "set_tests_properties([==[${FOLDER}: ${name}]==] PROPERTIES LABELS [==[${labels}]==] TIMEOUT 1800\n"
           "                     SKIP_REGULAR_EXPRESSION [==[skipped: ]==]\n"
           "                     FAIL_REGULAR_EXPRESSION [==[No tests ran|No test cases matched]==])\n")
  endforeach()
endforeach()
file(WRITE ${SCRIPT} "${script}")
