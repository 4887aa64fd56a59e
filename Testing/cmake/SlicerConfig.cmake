# Stand-in for a Slicer build tree, so that the extension configures, builds and installs without Slicer:
#
#   cmake -S . -B build -DSlicer_DIR=Testing/cmake -DMEDPREP_PYTHON=.venv/bin/python
#   cmake --build build && ctest --test-dir build && cmake --install build --prefix installed
#
# It offers what Slicer's find_package offers a scripted extension, with the same names and the same layout,
# and is as strict. Tests run on the headless host instead of in Slicer (launcher.py).
set(Slicer_VERSION "5.13.0")
set(Slicer_VERSION_MAJOR_MINOR "5.13")
set(Slicer_LIB_DIR "lib/Slicer-5.13")
set(Slicer_SHARE_DIR "share/Slicer-5.13")
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "${Slicer_LIB_DIR}/qt-scripted-modules")
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR "${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")

set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/ExtensionGenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/ExtensionCPack.cmake")

set(MEDPREP_PYTHON "python3" CACHE STRING "Python with MedPrep's requirements, runs the tests")
set(Slicer_LAUNCHER_EXECUTABLE "${MEDPREP_PYTHON}" "${CMAKE_CURRENT_LIST_DIR}/launcher.py")
