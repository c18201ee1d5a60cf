# What `make install` puts in place: the program, the pure core as a library with its headers, man pages, completion.

# The pure core as one shared library. It is linked with nothing but libcrypto and libc and may leave nothing
# undefined: this is the proof that no reader, database or HTTP code is in it.
add_library(dpone_core SHARED ${PROJECT_SOURCE_DIR}/cmake/core.c)
set_target_properties(dpone_core PROPERTIES OUTPUT_NAME dpone VERSION ${PROJECT_VERSION} SOVERSION 0)
add_dependencies(dpone_core dpone_base dpone_cdc dpone_replay)
target_link_libraries(dpone_core PRIVATE dpone_flags -Wl,--whole-archive
    $<TARGET_FILE:dpone_base> $<TARGET_FILE:dpone_cdc> $<TARGET_FILE:dpone_replay>
    -Wl,--no-whole-archive OpenSSL::Crypto)
if(NOT DPONE_SANITIZE AND NOT DPONE_COVERAGE)
  target_link_options(dpone_core PRIVATE -Wl,--no-undefined)
endif()

install(TARGETS dpone dpone_core
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(folder base cdc replay)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dpone
      FILES_MATCHING PATTERN "*.h" PATTERN "*_internal.h" EXCLUDE PATTERN "wal2json*.h" EXCLUDE
      # The live sources are not in this library.
      PATTERN "postgres_*.h" EXCLUDE PATTERN "source_postgres*.h" EXCLUDE)
endforeach()
set(prefix "@prefix@")
configure_file(${PROJECT_SOURCE_DIR}/cmake/dpone.pc.in ${PROJECT_BINARY_DIR}/dpone.pc.in @ONLY)
# The prefix may be chosen at install time (cmake --install --prefix), so the file is finished then.
install(CODE "set(prefix \"\${CMAKE_INSTALL_PREFIX}\")
    configure_file(${PROJECT_BINARY_DIR}/dpone.pc.in ${PROJECT_BINARY_DIR}/dpone.pc @ONLY)")
install(FILES ${PROJECT_BINARY_DIR}/dpone.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# Man pages and completion are printed by the program itself, from its command tables.
set(pages ${PROJECT_BINARY_DIR}/pages)
add_custom_command(OUTPUT ${pages}/stamp
    COMMAND ${CMAKE_COMMAND} -E make_directory ${pages}/man ${pages}/bash ${pages}/zsh ${pages}/fish
    COMMAND dpone man --output-directory ${pages}/man
    COMMAND dpone completion bash > ${pages}/bash/dpone
    COMMAND dpone completion zsh > ${pages}/zsh/_dpone
    COMMAND dpone completion fish > ${pages}/fish/dpone.fish
    COMMAND ${CMAKE_COMMAND} -E touch ${pages}/stamp
    DEPENDS dpone VERBATIM)
add_custom_target(dpone_pages ALL DEPENDS ${pages}/stamp)
install(DIRECTORY ${pages}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${pages}/bash/dpone DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${pages}/zsh/_dpone DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${pages}/fish/dpone.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
