// SPDX-License-Identifier: Apache-2.0
#include "check.h"

int main(int argc, char** argv) {
  baton::test::runTests(argc, argv);
  return 0;
}
