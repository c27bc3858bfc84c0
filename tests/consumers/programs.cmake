# The consumer's programs; all but the first two use optional components.
add_executable(consumer ${CMAKE_CURRENT_LIST_DIR}/main.cpp)
target_link_libraries(consumer PRIVATE metalqr::metalqr)

add_executable(stragglers ${CMAKE_CURRENT_LIST_DIR}/stragglers.cpp)
target_link_libraries(stragglers PRIVATE metalqr::metalqr)

add_executable(components ${CMAKE_CURRENT_LIST_DIR}/components.cpp)
target_link_libraries(components PRIVATE metalqr::json metalqr::lanes metalqr::openmp)

if(TARGET metalqr::sdp)
  add_executable(designs ${CMAKE_CURRENT_LIST_DIR}/designs.cpp)
  target_link_libraries(designs PRIVATE metalqr::sdp)
endif()

if(TARGET metalqr::qp)
  add_executable(limits ${CMAKE_CURRENT_LIST_DIR}/limits.cpp)
  target_link_libraries(limits PRIVATE metalqr::qp)
endif()

if(TARGET metalqr::mpi AND TARGET metalqr::json)
  add_executable(ranks ${CMAKE_CURRENT_LIST_DIR}/ranks.cpp)
  target_link_libraries(ranks PRIVATE metalqr::mpi metalqr::json)
endif()
