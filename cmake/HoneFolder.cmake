# hone_folder(NAME [dependency folders...]): the static library hone_NAME of all .c files in the
# calling folder and the folders one level below it. Files added later are found by the next build.
set(HONE_WARNINGS -Wall -Wextra -Wshadow -Wmissing-prototypes -Wvla -Werror)

function(hone_sources result)
	file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c ${CMAKE_CURRENT_SOURCE_DIR}/*/*.c)
	set(${result} ${sources} PARENT_SCOPE)
endfunction()

function(hone_folder name)
	hone_sources(sources)
	list(TRANSFORM ARGN PREPEND hone_ OUTPUT_VARIABLE dependencies)
	if(NOT sources) # headers only
		add_library(hone_${name} INTERFACE)
		target_include_directories(hone_${name} INTERFACE ${CMAKE_SOURCE_DIR})
		target_link_libraries(hone_${name} INTERFACE ${dependencies})
		return()
	endif()
	add_library(hone_${name} STATIC ${sources})
	target_include_directories(hone_${name} PUBLIC ${CMAKE_SOURCE_DIR})
	target_compile_options(hone_${name} PRIVATE ${HONE_WARNINGS})
	target_link_libraries(hone_${name} PUBLIC ${dependencies})
endfunction()
