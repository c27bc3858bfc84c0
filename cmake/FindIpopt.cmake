# Finds the interior-point solver Ipopt, and defines Ipopt::Ipopt.
find_path(Ipopt_INCLUDE_DIR IpIpoptApplication.hpp PATH_SUFFIXES coin coin-or)
find_library(Ipopt_LIBRARY ipopt)
mark_as_advanced(Ipopt_INCLUDE_DIR Ipopt_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Ipopt REQUIRED_VARS Ipopt_LIBRARY Ipopt_INCLUDE_DIR)

if(Ipopt_FOUND AND NOT TARGET Ipopt::Ipopt)
  add_library(Ipopt::Ipopt INTERFACE IMPORTED)
  set_target_properties(Ipopt::Ipopt PROPERTIES
                        INTERFACE_INCLUDE_DIRECTORIES "${Ipopt_INCLUDE_DIR}"
                        INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${Ipopt_INCLUDE_DIR}"
                        INTERFACE_LINK_LIBRARIES "${Ipopt_LIBRARY}")
endif()
