# The consumer's programs, the last of which uses optional components.
add_executable(consumer ${CMAKE_CURRENT_LIST_DIR}/main.cpp)
target_link_libraries(consumer PRIVATE metalqr::metalqr)

add_executable(stragglers ${CMAKE_CURRENT_LIST_DIR}/stragglers.cpp)
target_link_libraries(stragglers PRIVATE metalqr::metalqr)

add_executable(components ${CMAKE_CURRENT_LIST_DIR}/components.cpp)
target_link_libraries(components PRIVATE metalqr::json metalqr::lanes metalqr::openmp)
