# Finds the header-only xsimd and defines XsimdHeaders::XsimdHeaders. Not xsimd's own package file: Debian 12's
# demands the library xtl, which the headers need for complex numbers only.
find_path(XsimdHeaders_INCLUDE_DIR xsimd/xsimd.hpp)
mark_as_advanced(XsimdHeaders_INCLUDE_DIR)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(XsimdHeaders REQUIRED_VARS XsimdHeaders_INCLUDE_DIR)

if(XsimdHeaders_FOUND AND NOT TARGET XsimdHeaders::XsimdHeaders)
  add_library(XsimdHeaders::XsimdHeaders INTERFACE IMPORTED)
  set_target_properties(XsimdHeaders::XsimdHeaders PROPERTIES
                        INTERFACE_INCLUDE_DIRECTORIES "${XsimdHeaders_INCLUDE_DIR}"
                        INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${XsimdHeaders_INCLUDE_DIR}")
endif()
