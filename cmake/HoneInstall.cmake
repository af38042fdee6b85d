# The installed tree. bin/hone finds ../lib/hone/libhone_runtime.a by its own place, and hone.pc and
# the CMake package find the rest by theirs, so the tree may be moved as a whole.
include(CMakePackageConfigHelpers)

if(TARGET hone)
	install(TARGETS hone RUNTIME DESTINATION bin)
endif()
get_target_property(type hone_runtime TYPE)
if(type STREQUAL "STATIC_LIBRARY")
	install(TARGETS hone_runtime hone_runtime_none ARCHIVE DESTINATION lib/hone)
endif()
install(FILES runtime/hone.h DESTINATION include)

configure_file(cmake/hone.pc.in hone.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/hone.pc DESTINATION lib/pkgconfig)

write_basic_package_version_file(${CMAKE_BINARY_DIR}/hone-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES cmake/hone-config.cmake ${CMAKE_BINARY_DIR}/hone-config-version.cmake
	DESTINATION lib/cmake/hone)
