// SPDX-License-Identifier: Apache-2.0
// Hands vitest's results to scripts/test.mjs: one JSON line per test in the file that BATON_TEST_RESULTS names. A
// module that could not be loaded and an error outside any test are results too, failed ones.
import { appendFileSync } from "node:fs";
import path from "node:path";

const statusOf = { passed: "passed", failed: "failed", skipped: "skipped", pending: "failed" };

function messagesOf(errors) {
  return (errors ?? []).map((error) => String(error.stack ?? error.message ?? error));
}

export default class ResultReporter {
  #write(result) {
    appendFileSync(process.env.BATON_TEST_RESULTS, `${JSON.stringify(result)}\n`);
  }

  #test(file, test) {
    const result = test.result();
    this.#write({
      name: test.fullName,
      file,
      status: statusOf[result.state],
      ms: test.diagnostic()?.duration ?? 0,
      reason: result.state === "skipped" ? (result.note ?? "") : "",
      messages: result.state === "pending" ? ["did not finish"] : messagesOf(result.errors),
    });
  }

  onTestRunEnd(modules, unhandledErrors) {
    for (const module of modules) {
      const file = path.relative(process.cwd(), module.moduleId);
      const broken = messagesOf(module.errors());
      for (const suite of module.children.allSuites()) broken.push(...messagesOf(suite.errors()));
      if (broken.length > 0) {
        this.#write({
          name: "(the file itself)",
          file,
          status: "failed",
          ms: 0,
          reason: "",
          messages: broken,
        });
      }
      for (const test of module.children.allTests()) this.#test(file, test);
    }
    for (const message of messagesOf(unhandledErrors)) {
      const name = "(error outside any test)";
      this.#write({ name, file: "", status: "failed", ms: 0, reason: "", messages: [message] });
    }
    this.#write({ done: true });
  }
}
