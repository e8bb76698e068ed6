# Two things that a ROS 2 installed by pip needs. With any other ROS installation nothing changes.

# The wheels export include folders of the machine that built them, and CMake refuses imported targets
# whose include folders do not exist: leave those folders out.
get_property(_imported_targets DIRECTORY PROPERTY IMPORTED_TARGETS)
foreach(_target IN LISTS _imported_targets)
  if(NOT _target MATCHES "__rosidl_generator_py$")
    continue()
  endif()
  get_target_property(_folders ${_target} INTERFACE_INCLUDE_DIRECTORIES)
  set(_present)
  foreach(_folder IN LISTS _folders)
    if(_folder MATCHES "^\\$<" OR EXISTS "${_folder}")
      list(APPEND _present "${_folder}")
    endif()
  endforeach()
  set_target_properties(${_target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_present}")
endforeach()

# CMake refuses to export include folders below the source folder, and a virtual environment's headers
# often are there (.venv): they serve this build only.
set(_target ${PROJECT_NAME}__rosidl_generator_py)
set(_folders)
if(TARGET ${_target})
  get_target_property(_folders ${_target} INTERFACE_INCLUDE_DIRECTORIES)
endif()
if(_folders)
  set(_exported)
  foreach(_folder IN LISTS _folders)
    string(FIND "${_folder}" "${CMAKE_CURRENT_SOURCE_DIR}/" _position)
    if(_position EQUAL 0)
      set(_folder "$<BUILD_INTERFACE:${_folder}>")
    endif()
    list(APPEND _exported "${_folder}")
  endforeach()
  set_target_properties(${_target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_exported}")
endif()
