# Install the commands that setup.cfg names: as bin/NAME for the shell (which pip does itself) and, as
# `ros2 run` and launch look there, as lib/<package>/NAME.

find_package(Python3 REQUIRED COMPONENTS Interpreter)

# A build for a virtual environment runs in it. A build for the system's Python runs in whichever
# python3 comes first, so that an environment on top of ROS (one that has torch) is respected.
get_filename_component(_python_folder "${Python3_EXECUTABLE}" DIRECTORY)
if(EXISTS "${_python_folder}/../pyvenv.cfg")
  set(PYTHON_COMMAND "${Python3_EXECUTABLE}")
else()
  set(PYTHON_COMMAND "/usr/bin/env python3")
endif()

# --symlink-install links to what is configured here: it must be executable itself.
set(_executable FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
  GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(_entry_pattern "^ +([a-z_]+) = ([a-z_.]+):([a-z_]+)$")
file(STRINGS setup.cfg _entries REGEX "${_entry_pattern}")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS setup.cfg)
foreach(_entry IN LISTS _entries)
  string(REGEX MATCH "${_entry_pattern}" _entry "${_entry}")
  set(COMMAND_NAME ${CMAKE_MATCH_1})
  set(COMMAND_MODULE ${CMAKE_MATCH_2})
  set(COMMAND_FUNCTION ${CMAKE_MATCH_3})
  set(_commands "${CMAKE_CURRENT_BINARY_DIR}/commands")
  configure_file(cmake/command.py.in "${_commands}/bin/${COMMAND_NAME}" @ONLY ${_executable})
  configure_file(cmake/command.sh.in "${_commands}/lib/${COMMAND_NAME}" @ONLY ${_executable})
  if(INSTALL_PYTHON)
    install(PROGRAMS "${_commands}/bin/${COMMAND_NAME}" DESTINATION bin)
  endif()
  install(PROGRAMS "${_commands}/lib/${COMMAND_NAME}" DESTINATION lib/${PROJECT_NAME})
endforeach()
