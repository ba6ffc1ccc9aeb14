# Finds FAISS: by its own CMake config where that was installed, else by header and library
# (a distribution's package, or the folder that the set-up script built). faiss_ROOT chooses.
#   faiss::faiss     the library, without the BLAS that a static one still needs (BlasForFaiss)
#   faiss_VERSION

find_package(faiss CONFIG QUIET)
if(TARGET faiss)
  add_library(faiss::faiss ALIAS faiss)
  get_target_property(faiss_INCLUDE_DIR faiss INTERFACE_INCLUDE_DIRECTORIES)
  set(faiss_LIBRARY faiss)
else()
  find_path(faiss_INCLUDE_DIR faiss/Index.h)
  # The most specific library that was built for this machine first.
  find_library(faiss_LIBRARY NAMES faiss_avx512 faiss_avx2 faiss)
endif()

if(faiss_INCLUDE_DIR)
  list(GET faiss_INCLUDE_DIR 0 _first)
  string(REGEX REPLACE "^\\$<[A-Z_]+:(.*)>$" "\\1" _first "${_first}")
  if(EXISTS "${_first}/faiss/Index.h")
    file(STRINGS "${_first}/faiss/Index.h" _macros REGEX "#define FAISS_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
    string(REGEX REPLACE "[^0-9;]" "" _numbers "${_macros}")
    string(REPLACE ";" "." faiss_VERSION "${_numbers}")
  endif()
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
