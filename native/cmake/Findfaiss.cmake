# Finds FAISS by header and library: a distribution's package, which has no CMake config, an installation from source or
# the folder that the set-up script built. faiss_ROOT chooses. A config that FAISS installed itself is not used: it ties a
# static FAISS to whichever shared BLAS its own build found.
#   faiss::faiss     the library, without the BLAS that a static one still needs (BlasForFaiss)
#   faiss_VERSION

find_path(faiss_INCLUDE_DIR faiss/Index.h)
# The most specific library that was built for this machine first.
find_library(faiss_LIBRARY NAMES faiss_avx512 faiss_avx2 faiss)

if(faiss_INCLUDE_DIR)
  file(STRINGS "${faiss_INCLUDE_DIR}/faiss/Index.h" _macros REGEX "#define FAISS_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
  string(REGEX REPLACE "[^0-9;]" "" _numbers "${_macros}")
  string(REPLACE ";" "." faiss_VERSION "${_numbers}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(faiss REQUIRED_VARS faiss_LIBRARY faiss_INCLUDE_DIR VERSION_VAR faiss_VERSION)

if(faiss_FOUND AND NOT TARGET faiss::faiss)
  find_package(OpenMP REQUIRED)
  add_library(faiss::faiss UNKNOWN IMPORTED)
  set_target_properties(faiss::faiss PROPERTIES
    IMPORTED_LOCATION "${faiss_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${faiss_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES OpenMP::OpenMP_CXX)
endif()
