#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Stands where prebuildify expects node-gyp (PREBUILD_NODE_GYP): takes node-gyp's arguments and builds with CMake,
// so that no headers are downloaded and no Python is needed. Like node-gyp it works in the current folder: prebuildify
// strips what lies in build/Release there and moves it away, which must not happen to the checkout's own build.
import path from "node:path";
import { buildNative } from "./build-native.mjs";
import { entry, Stop } from "./lib/run.mjs";

await entry(async () => {
  const args = process.argv.slice(2);
  const arch = args.find((text) => text.startsWith("--arch="))?.slice("--arch=".length);
  if (arch && arch !== process.arch) {
    throw new Stop(
      `a prebuild for ${arch} cannot be made on ${process.arch}: run this on a ${arch} machine.`,
    );
  }
  const config = args.includes("--debug") ? "Debug" : "Release";
  const { addon } = await buildNative({ config, out: path.resolve("build", config) });
  if (!addon) throw new Stop("the build made no baton.node: native/binding is missing from the sources.");
});
