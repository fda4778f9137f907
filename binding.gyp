# SPDX-License-Identifier: Apache-2.0
# For node-gyp and prebuildify in the checkout: one target without sources, whose action runs CMake. The sources are
# listed in CMakeLists.txt only. Published packages have no binding.gyp.
{
  "targets": [
    {
      "target_name": "baton_cmake",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "message": "building baton.node with CMake",
          "inputs": ["CMakeLists.txt", "package.json"],
          "outputs": ["<(PRODUCT_DIR)/baton.node"],
          "action": ["node", "scripts/build-native.mjs", "--out", "<(PRODUCT_DIR)", "--config", "<(CONFIGURATION_NAME)"]
        }
      ]
    }
  ]
}
