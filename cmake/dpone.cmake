# What every target of dpone is built with, and the functions that declare libraries and tests.

add_library(dpone_flags INTERFACE)
target_compile_definitions(dpone_flags INTERFACE _GNU_SOURCE DPONE_VERSION="${PROJECT_VERSION}")
target_include_directories(dpone_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(dpone_flags INTERFACE
    -Wall -Wextra -Werror -Wconversion -Wsign-conversion -Wshadow -Wcast-qual -Wformat=2 -Wvla -Wundef
    -Wmissing-prototypes -Wstrict-prototypes -Wswitch-enum -Wpointer-arith
    -fno-common -fstack-protector-strong -fno-strict-aliasing)
if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
  # The escape and nibble tables fill a range first and name exceptions after it.
  target_compile_options(dpone_flags INTERFACE -Wno-initializer-overrides -Wno-gnu-designator)
elseif(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(dpone_flags INTERFACE -Wno-override-init)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  # The path of an event crosses many small functions of many files: optimised as one program it is 5 % faster.
  include(CheckIPOSupported)
  check_ipo_supported(RESULT DPONE_HAS_LTO OUTPUT ignored LANGUAGES C)
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ${DPONE_HAS_LTO})
  # The installed libdpone-client.a must hold ordinary code too, for any compiler.
  if(DPONE_HAS_LTO AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(dpone_flags INTERFACE -ffat-lto-objects)
  endif()
  target_compile_definitions(dpone_flags INTERFACE _FORTIFY_SOURCE=2)
else()
  target_compile_definitions(dpone_flags INTERFACE DPONE_CRASH_POINTS) # base/crash_point.h
endif()
if(DPONE_SANITIZE)
  target_compile_options(dpone_flags INTERFACE -fsanitize=${DPONE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(dpone_flags INTERFACE -fsanitize=${DPONE_SANITIZE})
endif()
if(DPONE_FUZZ)
  target_compile_options(dpone_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(dpone_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(DPONE_COVERAGE)
  # Without atomic counters threads lose counts, down to negative ones that gcovr refuses to read.
  target_compile_options(dpone_flags INTERFACE --coverage -fprofile-update=atomic)
  target_link_options(dpone_flags INTERFACE --coverage)
endif()

# dpone_library(<name> SOURCES <file>... [LINKS <library>...]): the static library dpone_<name> of one folder.
function(dpone_library name)
  cmake_parse_arguments(LIBRARY "" "" "SOURCES;LINKS" ${ARGN})
  if(LIBRARY_SOURCES)
    add_library(dpone_${name} STATIC ${LIBRARY_SOURCES})
    target_link_libraries(dpone_${name} PUBLIC dpone_flags ${LIBRARY_LINKS})
  else()
    add_library(dpone_${name} INTERFACE)
    target_link_libraries(dpone_${name} INTERFACE dpone_flags ${LIBRARY_LINKS})
  endif()
endfunction()
