# What the sample uses of Zephyr's build system.
project(Zephyr C)
file(STRINGS "${CMAKE_SOURCE_DIR}/prj.conf" settings REGEX "^CONFIG_[A-Z_]+=")
foreach(setting ${settings})
  string(REGEX MATCH "^([A-Z_]+)=(.*)$" found "${setting}")
  set(${CMAKE_MATCH_1} "${CMAKE_MATCH_2}")
endforeach()

add_library(zephyr_interface INTERFACE)
target_include_directories(zephyr_interface INTERFACE "${Zephyr_DIR}/include")

function(zephyr_include_directories)
  foreach(folder ${ARGN})
    get_filename_component(folder "${folder}" ABSOLUTE)
    target_include_directories(zephyr_interface INTERFACE "${folder}")
  endforeach()
endfunction()

macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
  add_library(${name} STATIC)
  target_link_libraries(${name} PUBLIC zephyr_interface)
  target_link_libraries(app PUBLIC ${name} m)
endmacro()

macro(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endmacro()

macro(zephyr_library_compile_options)
  target_compile_options(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endmacro()

add_executable(app)
foreach(module ${EXTRA_ZEPHYR_MODULES})
  file(STRINGS "${module}/zephyr/module.yml" place REGEX "^  cmake: ")
  string(REPLACE "  cmake: " "" place "${place}")
  add_subdirectory("${module}/${place}" modules/ghostnet_small)
endforeach()
