# Install rules and the package configuration for find_package(metalqr).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/metalqr)

install(DIRECTORY include/metalqr DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(TARGETS metalqr EXPORT metalqr INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT metalqr FILE metalqrTargets.cmake NAMESPACE metalqr:: DESTINATION ${package_dir})

configure_package_config_file(cmake/metalqrConfig.cmake.in ${PROJECT_BINARY_DIR}/metalqrConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/metalqrConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/metalqrConfig.cmake ${PROJECT_BINARY_DIR}/metalqrConfigVersion.cmake
              cmake/dependencies.cmake cmake/FindCsdp.cmake cmake/FindIpopt.cmake
              cmake/FindRandom123.cmake cmake/FindXsimdHeaders.cmake
        DESTINATION ${package_dir})
