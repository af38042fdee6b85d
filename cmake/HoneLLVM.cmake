# Finds one LLVM (HONE_LLVM, or the newest installed of the versions hone is tested with) and the
# linker that goes with it: HONE_LINKER is ld.lld-N, any ld.lld, or the C compiler.
set(versions 22 19)
if(HONE_LLVM)
	set(versions ${HONE_LLVM})
endif()
# No version argument: LLVM's own version file refuses "19" for 19.1.
unset(LLVM_DIR CACHE)
foreach(version IN LISTS versions)
	find_package(LLVM CONFIG QUIET NO_DEFAULT_PATH PATHS /usr/lib/llvm-${version})
	if(LLVM_FOUND)
		break()
	endif()
endforeach()
if(NOT LLVM_FOUND) # elsewhere than where Debian puts it
	find_package(LLVM CONFIG QUIET)
endif()
if(NOT LLVM_FOUND OR LLVM_VERSION_MAJOR LESS 19 OR (HONE_LLVM AND NOT LLVM_VERSION_MAJOR EQUAL HONE_LLVM))
	message(FATAL_ERROR "LLVM not found; looked for version ${versions} (Debian: llvm-22-dev or llvm-19-dev)")
endif()

unset(HONE_LINKER_FOUND CACHE)
find_program(HONE_LINKER_FOUND NAMES ld.lld-${LLVM_VERSION_MAJOR} ld.lld HINTS ${LLVM_TOOLS_BINARY_DIR})
set(HONE_LINKER ${HONE_LINKER_FOUND})
if(NOT HONE_LINKER)
	set(HONE_LINKER ${CMAKE_C_COMPILER})
endif()
message(STATUS "LLVM ${LLVM_PACKAGE_VERSION}, linker ${HONE_LINKER}")
