# Defines dpone_microhttpd, the HTTP library that the server links.
#
# Where its static archive is there, four of the archive's objects are linked with some of their calls leading to
# server/microhttpd_redirects.c, which says why, and the rest of the archive as it is. Elsewhere the shared library is linked,
# whole. docs/decisions/0035-some-calls-of-the-http-library-are-ours.md
set(redirects_of_memorypool memset=dp_http_pool_zero)
set(redirects_of_daemon MHD_connection_handle_idle=dp_http_idle)
set(redirects_of_connection MHD_create_response_from_buffer=dp_http_refusal MHD_send_hdr_and_body_=dp_http_send_header
    MHD_parse_arguments_=dp_http_arguments MHD_strx_to_uint64_n_=dp_http_chunk_size recv=dp_http_receive)
set(redirects_of_connection_https gnutls_record_recv=dp_http_receive_tls)
find_library(MICROHTTPD_ARCHIVE libmicrohttpd.a HINTS ${MICROHTTPD_LIBRARY_DIRS})
mark_as_advanced(MICROHTTPD_ARCHIVE)
option(DPONE_STATIC_MICROHTTPD "Link libmicrohttpd's archive with some of its calls redirected, where there is one" ON)
add_library(dpone_microhttpd INTERFACE)
set(DPONE_REDIRECTS_MICROHTTPD OFF)

if(DPONE_STATIC_MICROHTTPD AND MICROHTTPD_ARCHIVE AND MICROHTTPD_VERSION VERSION_EQUAL 0.9.75)
  set(DPONE_REDIRECTS_MICROHTTPD ON)
  set(objects)
  foreach(name memorypool daemon connection connection_https)
    set(object libmicrohttpd_la-${name}.o)
    list(TRANSFORM redirects_of_${name} PREPEND --redefine-sym= OUTPUT_VARIABLE redirects)
    add_custom_command(
        OUTPUT ${CMAKE_BINARY_DIR}/${object}
        COMMAND ${CMAKE_AR} x ${MICROHTTPD_ARCHIVE} ${object}
        COMMAND ${CMAKE_OBJCOPY} ${redirects} ${object}
        DEPENDS ${MICROHTTPD_ARCHIVE} ${CMAKE_CURRENT_LIST_FILE}
        WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
        VERBATIM)
    list(APPEND objects ${CMAKE_BINARY_DIR}/${object})
  endforeach()
  add_custom_target(dpone_microhttpd_objects DEPENDS ${objects})
  add_dependencies(dpone_microhttpd dpone_microhttpd_objects)
  target_include_directories(dpone_microhttpd INTERFACE ${MICROHTTPD_INCLUDE_DIRS})
  target_link_libraries(dpone_microhttpd INTERFACE ${objects} ${MICROHTTPD_ARCHIVE} gnutls Threads::Threads)
else()
  target_link_libraries(dpone_microhttpd INTERFACE PkgConfig::MICROHTTPD)
endif()
