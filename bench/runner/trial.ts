// SPDX-License-Identifier: Apache-2.0
// The process of one trial: does what its argument says and sends one reply.
import { subjects } from "../subjects/index.js";
import type { TrialReply, TrialRequest } from "./trial-process.js";

async function answer(): Promise<TrialReply> {
  try {
    const request = JSON.parse(process.argv[2] ?? "") as TrialRequest;
    const subject = subjects.find((one) => one.name === request.subject);
    if (subject === undefined) throw new Error(`unknown subject ${request.subject}`);
    if ("describe" in request) return { ok: true, value: await subject.describe(request.settings) };
    return { ok: true, value: await subject.measure(request.task, request.settings) };
  } catch (error) {
    return { ok: false, message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

const reply = await answer();
process.send?.(reply, () => process.exit(0));
