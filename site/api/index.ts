// SPDX-License-Identifier: Apache-2.0
/**
 * Models, chains, the cache and tuning.
 *
 * @module baton-lm
 */
export * from "../../src/index.js";
