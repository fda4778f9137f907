// SPDX-License-Identifier: Apache-2.0
/**
 * Models and chains as language models of AI SDK.
 *
 * @module baton-lm/ai-sdk
 */
export * from "../../src/ai-sdk/index.js";
