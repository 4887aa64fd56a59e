# Slicer writes <name>Config.cmake here, for extensions that build against this one.
configure_file("${CMAKE_CURRENT_LIST_DIR}/ExtensionConfig.cmake.in" "${CMAKE_BINARY_DIR}/${EXTENSION_NAME}Config.cmake" @ONLY)
