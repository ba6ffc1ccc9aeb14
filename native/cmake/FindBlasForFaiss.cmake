# The BLAS and LAPACK behind FAISS: BlasForFaiss::blas.
# First choice: OpenBLAS with OpenMP, linked statically. Linked that way it shares FAISS's OpenMP threads whatever
# BLAS the machine's alternatives point at, and native/ann/blas.cpp can choose its kernels before it starts.
# Else whatever find_package(BLAS) and find_package(LAPACK) give; BLA_VENDOR chooses.

if(NOT BLA_VENDOR)
  find_library(BlasForFaiss_OPENBLAS NAMES libopenblas.a PATH_SUFFIXES openblas-openmp NO_CACHE)
  # The LAPACK inside is Fortran; its run-time library has no unversioned name without a Fortran compiler. What is left of it
  # in ann.node needs one function, which native/ann/blas.cpp has, so that nobody has to install that library.
  find_library(BlasForFaiss_GFORTRAN NAMES gfortran libgfortran.so.5 NO_CACHE)
endif()

add_library(BlasForFaiss::blas INTERFACE IMPORTED)
if(BlasForFaiss_OPENBLAS MATCHES "openblas-openmp" AND BlasForFaiss_GFORTRAN)
  find_package(OpenMP REQUIRED)
  set(BlasForFaiss_KIND "${BlasForFaiss_OPENBLAS}")
  set_target_properties(BlasForFaiss::blas PROPERTIES
    INTERFACE_LINK_LIBRARIES
      "${BlasForFaiss_OPENBLAS};-Wl,--push-state,--as-needed;${BlasForFaiss_GFORTRAN};-Wl,--pop-state;OpenMP::OpenMP_CXX"
    INTERFACE_COMPILE_DEFINITIONS FAISS_VISION_STATIC_OPENBLAS
    INTERFACE_LINK_OPTIONS "LINKER:--wrap=getenv,--undefined=__wrap_getenv")
else()
  find_package(BLAS REQUIRED)
  find_package(LAPACK REQUIRED)
  set(BlasForFaiss_KIND "${LAPACK_LIBRARIES} ${BLAS_LIBRARIES}")
  set_target_properties(BlasForFaiss::blas PROPERTIES
    INTERFACE_LINK_LIBRARIES "${LAPACK_LIBRARIES};${BLAS_LIBRARIES}")
  message(STATUS "OpenBLAS with OpenMP (libopenblas-openmp-dev) was not found: its kernels are not chosen for this processor")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(BlasForFaiss REQUIRED_VARS BlasForFaiss_KIND)
