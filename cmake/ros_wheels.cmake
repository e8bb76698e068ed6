# The ROS 2 wheels on PyPI export include folders of the machine that built them.
# CMake refuses imported targets whose include folders do not exist: leave those folders out.
# With any other ROS installation every exported folder exists and nothing changes.
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
