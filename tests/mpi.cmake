# The tests that run on several ranks, mpi*.cpp in any folder: one program, one entry of ctest a number of ranks.
set(launch OFF)
if(NOT TARGET metalqr::mpi)
  set(reason "the component mpi is left out, as MPI was not found (Debian: libopenmpi-dev)")
elseif(NOT MPIEXEC_EXECUTABLE)
  set(reason "mpirun was not found (Debian: openmpi-bin)")
else()
  set(launch ON)
endif()
if(NOT launch)
  message(STATUS "The tests on several ranks are skipped: ${reason}")
  add_test(NAME "mpi: several ranks" COMMAND ${CMAKE_COMMAND} -E echo "skipped: ${reason}")
  set_tests_properties("mpi: several ranks" PROPERTIES LABELS mpi SKIP_REGULAR_EXPRESSION "^skipped")
  return()
endif()

file(GLOB sources RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} CONFIGURE_DEPENDS */mpi*.cpp)
add_executable(mpi_tests mpi_main.cpp ${sources})
metalqr_own_target(mpi_tests ${settings})
target_precompile_headers(mpi_tests REUSE_FROM test_reference)
target_link_libraries(mpi_tests PRIVATE metalqr::mpi Catch2::Catch2 test_reference)
target_include_directories(mpi_tests PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/meta)
# Catch2's main is compiled here, with another macro than the tests' header is.
set_source_files_properties(mpi_main.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
set(counts 1 2 4)
if(METALQR_SANITIZE)
  set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS -O1 SKIP_PRECOMPILE_HEADERS ON)
  set(counts 2)
endif()

# More ranks than processors, as root, and in a container, which does not let processes read each other's memory.
set(environment OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl=self,vader
    OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_hwloc_base_binding_policy=none OMP_NUM_THREADS=1)
if(METALQR_SANITIZE)
  # Open MPI is compiled without frame pointers; its leaks are told by who allocated them.
  list(APPEND environment ASAN_OPTIONS=fast_unwind_on_malloc=0)
endif()
execute_process(COMMAND ${MPIEXEC_EXECUTABLE} --version OUTPUT_VARIABLE launcher ERROR_QUIET)
set(flags)
if(launcher MATCHES "Open MPI|OpenRTE")
  set(flags --oversubscribe)
endif()
foreach(count IN LISTS counts)
  set(name "mpi: on ${count} ranks")
  add_test(NAME ${name} COMMAND ${MPIEXEC_EXECUTABLE} ${flags} ${MPIEXEC_NUMPROC_FLAG} ${count} $<TARGET_FILE:mpi_tests>
                                ~[long])
  set_tests_properties(${name} PROPERTIES LABELS mpi PROCESSORS ${count} TIMEOUT 600 ENVIRONMENT "${environment}"
                       FAIL_REGULAR_EXPRESSION "No tests ran|No test cases matched")
endforeach()
