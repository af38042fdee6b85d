# hone-config.cmake: the CMake package of an installed hone. After find_package(hone):
#
#	hone_add_model(digits model.onnx [ARGS --cpu x86-64-v3 ...])
#	target_link_libraries(app PRIVATE digits)
#
# compiles model.onnx (again whenever it changes) to the shared library libdigits.so and its typed
# header digits.h in the current binary folder; `app` then finds both of these and hone.h. The library's
# table is hone_model_digits(), so a program may link several models.
cmake_path(SET hone_prefix NORMALIZE "${CMAKE_CURRENT_LIST_DIR}/../../..")
set(HONE_COMMAND "${hone_prefix}/bin/hone")
set(HONE_INCLUDE_DIR "${hone_prefix}/include")
if(NOT EXISTS "${HONE_COMMAND}")
	set(hone_FOUND FALSE)
	set(hone_NOT_FOUND_MESSAGE "there is no ${HONE_COMMAND}")
	return()
endif()

# hone.h alone, for programs that load compiled libraries with dlopen.
if(NOT TARGET hone::hone)
	add_library(hone::hone INTERFACE IMPORTED)
	target_include_directories(hone::hone INTERFACE "${HONE_INCLUDE_DIR}")
endif()

function(hone_add_model target model)
	cmake_parse_arguments(PARSE_ARGV 2 model "" "" "ARGS")
	if(model_UNPARSED_ARGUMENTS)
		message(FATAL_ERROR "hone_add_model(${target}): unknown arguments: ${model_UNPARSED_ARGUMENTS}")
	endif()
	cmake_path(ABSOLUTE_PATH model BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
	set(library "${CMAKE_CURRENT_BINARY_DIR}/lib${target}.so")
	set(header "${CMAKE_CURRENT_BINARY_DIR}/${target}.h")
	add_custom_command(
		OUTPUT "${library}"
		COMMAND "${HONE_COMMAND}" compile "${model}" -o "${library}" --emit so
			--name ${target} ${model_ARGS}
		DEPENDS "${model}" "${HONE_COMMAND}"
		COMMENT "Compiling ${model} to lib${target}.so"
		VERBATIM)
	add_custom_command(
		OUTPUT "${header}"
		COMMAND "${HONE_COMMAND}" compile "${model}" -o "${header}" --emit header
			--name ${target} ${model_ARGS}
		DEPENDS "${model}" "${HONE_COMMAND}"
		VERBATIM)
	add_custom_target(${target}_compiled DEPENDS "${library}" "${header}")

	add_library(${target} SHARED IMPORTED GLOBAL)
	add_dependencies(${target} ${target}_compiled)
	set_target_properties(${target} PROPERTIES
		IMPORTED_LOCATION "${library}"
		IMPORTED_NO_SONAME TRUE
		INTERFACE_INCLUDE_DIRECTORIES "${HONE_INCLUDE_DIR};${CMAKE_CURRENT_BINARY_DIR}")
endfunction()
