# Settings for metalqr's own tests, benchmarks and examples; a consumer's targets never see them.

set(metalqr_warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
if(METALQR_WARNINGS_AS_ERRORS)
  list(APPEND metalqr_warnings -Werror)
endif()

# metalqr_own_target(<target> [NATIVE] [SANITIZE] LINK <libraries>...): links the libraries that exist.
function(metalqr_own_target target)
  cmake_parse_arguments(own "NATIVE;SANITIZE" "" "LINK" ${ARGN})
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(${target} PRIVATE ${metalqr_warnings})
  foreach(library IN LISTS own_LINK)
    if(TARGET ${library})
      target_link_libraries(${target} PRIVATE ${library})
    endif()
  endforeach()
  if(own_NATIVE)
    target_compile_options(${target} PRIVATE -march=native)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
      # gcc 12 warns of its own AVX-512 intrinsics (gcc bug 105593).
      target_compile_options(${target} PRIVATE -Wno-uninitialized -Wno-maybe-uninitialized)
    endif()
  endif()
  if(own_SANITIZE)
    # Left out: what AddressSanitizer or Eigen's assertions find as well, at nearly half of the compile time.
    set(sanitizers -fsanitize=address,undefined -fno-sanitize=null,alignment,object-size,pointer-overflow)
    # Optimisation takes two thirds of clang's compile time here.
    target_compile_options(${target} PRIVATE ${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1 -O0)
    target_link_libraries(${target} PRIVATE ${sanitizers})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # The instrumented code misleads gcc's flow analysis; the plain build has these warnings.
      target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized -Wno-array-bounds -Wno-stringop-overflow)
    endif()
  endif()
endfunction()
