// SPDX-License-Identifier: Apache-2.0
import type { BatonError } from "../../src/index.js";

/** What the promise rejects with; it must. */
export async function failure(promise: Promise<unknown>): Promise<BatonError> {
  return promise.then(
    () => {
      throw new Error("nothing failed");
    },
    (error) => error as BatonError,
  );
}
