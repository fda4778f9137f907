// SPDX-License-Identifier: Apache-2.0
// An installation whose addon cannot be had: the error is typed, by its code and by isInstance, and has a remedy.
import { BatonError, loadModel, NativeLoadError } from "baton-lm";

try {
  const model = await loadModel(process.argv[2], { threads: 1 });
  await model.close();
  throw new Error("the model was loaded: there is an addon");
} catch (error) {
  if (!BatonError.isInstance(error) || !NativeLoadError.isInstance(error)) throw error;
  if (!error.message.includes("npm install") || !error.message.includes("npx baton build")) throw error;
  console.log(`${error.code}: ${error.message}`);
}
