# Finds the semidefinite solver CSDP with the LAPACK and BLAS that it calls, and defines Csdp::Csdp.
find_path(Csdp_INCLUDE_DIR csdp/declarations.h)
find_library(Csdp_LIBRARY sdp)
find_library(Csdp_LAPACK_LIBRARY NAMES lapack openblas)
find_library(Csdp_BLAS_LIBRARY NAMES blas openblas)
mark_as_advanced(Csdp_INCLUDE_DIR Csdp_LIBRARY Csdp_LAPACK_LIBRARY Csdp_BLAS_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Csdp REQUIRED_VARS Csdp_LIBRARY Csdp_INCLUDE_DIR Csdp_LAPACK_LIBRARY
                                                     Csdp_BLAS_LIBRARY)

if(Csdp_FOUND AND NOT TARGET Csdp::Csdp)
  add_library(Csdp::Csdp INTERFACE IMPORTED)
  set_target_properties(Csdp::Csdp PROPERTIES
                        INTERFACE_INCLUDE_DIRECTORIES "${Csdp_INCLUDE_DIR}"
                        INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${Csdp_INCLUDE_DIR}"
                        INTERFACE_LINK_LIBRARIES "${Csdp_LIBRARY};${Csdp_LAPACK_LIBRARY};${Csdp_BLAS_LIBRARY}")
endif()
