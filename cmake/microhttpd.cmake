# Defines dpone_microhttpd, the HTTP library that the server links.
#
# libmicrohttpd zeroes the memory of a connection, one and a half times its size, for every request; its source calls
# that "technically not needed". Where its static archive is there, the one object that does so is linked with that
# call leading to server/http_pool_memory.c, which does nothing, and the rest of the archive as it is. Elsewhere the
# shared library is linked, whole. docs/decisions/0035-the-connection-memory-is-not-zeroed.md
set(pool_object libmicrohttpd_la-memorypool.o)
find_library(MICROHTTPD_ARCHIVE libmicrohttpd.a HINTS ${MICROHTTPD_LIBRARY_DIRS})
mark_as_advanced(MICROHTTPD_ARCHIVE)
option(DPONE_STATIC_MICROHTTPD "Link libmicrohttpd's archive without its zeroing of memory, where there is one" ON)
add_library(dpone_microhttpd INTERFACE)

if(DPONE_STATIC_MICROHTTPD AND MICROHTTPD_ARCHIVE AND MICROHTTPD_VERSION VERSION_EQUAL 0.9.75)
  add_custom_command(
      OUTPUT ${CMAKE_BINARY_DIR}/${pool_object}
      COMMAND ${CMAKE_AR} x ${MICROHTTPD_ARCHIVE} ${pool_object}
      COMMAND ${CMAKE_OBJCOPY} --redefine-sym memset=dp_http_pool_zero ${pool_object}
      DEPENDS ${MICROHTTPD_ARCHIVE}
      WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
      VERBATIM)
  add_custom_target(dpone_microhttpd_pool DEPENDS ${CMAKE_BINARY_DIR}/${pool_object})
  add_dependencies(dpone_microhttpd dpone_microhttpd_pool)
  target_include_directories(dpone_microhttpd INTERFACE ${MICROHTTPD_INCLUDE_DIRS})
  target_link_libraries(dpone_microhttpd INTERFACE ${CMAKE_BINARY_DIR}/${pool_object} ${MICROHTTPD_ARCHIVE} gnutls
      Threads::Threads)
else()
  target_link_libraries(dpone_microhttpd INTERFACE PkgConfig::MICROHTTPD)
endif()
