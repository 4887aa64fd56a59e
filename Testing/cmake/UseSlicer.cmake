# What a scripted extension calls after find_package(Slicer): see SlicerConfig.cmake.

set(EXTENSION_NAME "${PROJECT_NAME}")
set(_scripted_modules_dir "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")

option(BUILD_TESTING "Register the tests" ON)
if(BUILD_TESTING)
  enable_testing()
endif()

# slicerMacroBuildScriptedModule(NAME name SCRIPTS files RESOURCES files [WITH_GENERIC_TESTS] [WITH_SUBDIR])
#
# Copies the files, each at its path relative to the module's folder, into the one folder that all modules share.
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(module "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(NOT module_NAME)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: NAME is missing")
  endif()
  if(module_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule(${module_NAME}): cannot use ${module_UNPARSED_ARGUMENTS}")
  endif()
  message(STATUS "Configuring scripted module: ${module_NAME}")

  set(destination "${_scripted_modules_dir}")
  if(module_WITH_SUBDIR)
    get_filename_component(folder "${CMAKE_CURRENT_SOURCE_DIR}" NAME)
    string(APPEND destination "/${folder}")
  endif()

  set(copies "")
  foreach(file IN LISTS module_SCRIPTS module_RESOURCES)
    set(source "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
    if(NOT EXISTS "${source}" AND EXISTS "${source}.py")
      string(APPEND file ".py")
      string(APPEND source ".py")
    endif()
    if(NOT EXISTS "${source}")
      message(FATAL_ERROR "slicerMacroBuildScriptedModule(${module_NAME}): there is no file ${file}")
    endif()
    set(copy "${destination}/${file}")
    get_property(owner GLOBAL PROPERTY "MEDPREP_OWNER_OF_${copy}")
    if(owner)
      message(FATAL_ERROR "${module_NAME} and ${owner} both install ${file}; all modules share one folder")
    endif()
    set_property(GLOBAL PROPERTY "MEDPREP_OWNER_OF_${copy}" "${module_NAME}")
    add_custom_command(OUTPUT "${copy}" DEPENDS "${source}"
      COMMAND "${CMAKE_COMMAND}" -E copy "${source}" "${copy}" VERBATIM)
    list(APPEND copies "${copy}")
  endforeach()
  add_custom_target(Copy${module_NAME}Files ALL DEPENDS ${copies})

  if(BUILD_TESTING AND module_WITH_GENERIC_TESTS)
    set(test "qSlicer${module_NAME}ModuleGenericTest")
    configure_file("${Slicer_DIR}/GenericModuleTest.py.in" "${CMAKE_CURRENT_BINARY_DIR}/${test}.py" @ONLY)
    slicer_add_python_unittest(SCRIPT ${test}.py TESTNAME_PREFIX nomainwindow_)
  endif()
endfunction()

# slicer_add_python_unittest(SCRIPT file [TESTNAME_PREFIX prefix] [SLICER_ARGS arguments])
#
# Registers a test that loads the unittest classes of the script, as Slicer does.
function(slicer_add_python_unittest)
  cmake_parse_arguments(test "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS" ${ARGN})
  if(test_UNPARSED_ARGUMENTS OR NOT test_SCRIPT)
    message(FATAL_ERROR "slicer_add_python_unittest: cannot use ${ARGN}")
  endif()
  get_filename_component(name "${test_SCRIPT}" NAME_WE)
  set(folders "['${CMAKE_CURRENT_BINARY_DIR}', '${CMAKE_CURRENT_SOURCE_DIR}']")
  add_test(NAME "py_${test_TESTNAME_PREFIX}${name}"
    COMMAND ${Slicer_LAUNCHER_EXECUTABLE} --no-splash --ignore-slicerrc ${test_SLICER_ARGS}
      --additional-module-path "${_scripted_modules_dir}"
      --python-code "import slicer.testing; slicer.testing.runUnitTest(${folders}, '${name}')")
endfunction()
