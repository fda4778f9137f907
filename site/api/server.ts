// SPDX-License-Identifier: Apache-2.0
/**
 * Models and chains behind OpenAI's API.
 *
 * @module baton-lm/server
 */
export * from "../../src/serve/index.js";
