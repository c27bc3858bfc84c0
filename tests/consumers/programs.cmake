# The consumer's two programs, one of which uses optional components.
add_executable(consumer ${CMAKE_CURRENT_LIST_DIR}/main.cpp)
target_link_libraries(consumer PRIVATE metalqr::metalqr)

add_executable(components ${CMAKE_CURRENT_LIST_DIR}/components.cpp)
target_link_libraries(components PRIVATE metalqr::json metalqr::lanes metalqr::openmp)
