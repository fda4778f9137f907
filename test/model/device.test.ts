// SPDX-License-Identifier: Apache-2.0
// On which device a model is opened: what may be asked for, what is refused and with which words. What CUDA itself is on
// this machine decides what "cuda" does here; every other case is driven with fakes in test/native/device/choice_test.cpp.

import { describe, expect, test } from "vitest";
import { DeviceUnavailableError, loadModel, OptionInvalidError } from "../../src/index.js";
import type { LoadOptions } from "../../src/model/options.js";
import { loadNative } from "../../src/native/load.js";
import { tinyPath } from "../chain/tiny-model.js";

const small = { threads: 1, cacheBytes: 8 << 20 };
const failure = (options: LoadOptions) =>
  loadModel(tinyPath, { ...small, ...options }).then(
    async (model) => {
      await model.close();
      return null;
    },
    (error: unknown) => error,
  );

describe("device", () => {
  test.each(["gpu", "", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cuda:12345", "cuda:1\n", 0, null])(
    "%j is none, and the message has those there are",
    async (device) => {
      const error = await failure({ device } as unknown as LoadOptions);
      expect(OptionInvalidError.isInstance(error)).toBe(true);
      expect(error).toMatchObject({ facts: { option: "device" } });
      expect((error as Error).message).toContain('"auto", "cpu", "cuda" or one like "cuda:1"');
    },
  );

  test("a name that cannot be is an error of types", async () => {
    // @ts-expect-error: it is none of the names that the type has
    const options: LoadOptions = { device: "gpu" };
    expect(await failure(options)).toMatchObject({ code: "OPTION_INVALID" });
  });

  test("the model's info says what was taken and why", async () => {
    for (const [device, why] of [
      ["cpu", /"cpu" asks for it/],
      ["auto", /have not been measured yet/],
      [undefined, /have not been measured yet/],
    ] as const) {
      await using model = await loadModel(tinyPath, { ...small, ...(device && { device }) });
      expect(model.info.device).toBe("cpu");
      expect(model.info.deviceName).toBe(loadNative().doctor().cpu);
      expect(model.info.deviceWhy).toMatch(why);
    }
  });

  test("cuda is a CUDA device or the reason why there is none, as doctor says it", async () => {
    const { problem, devices } = loadNative().cudaReport();
    const inTheWay = problem ?? devices[0]?.problem;
    if (inTheWay) {
      const error = await failure({ device: "cuda" });
      expect(DeviceUnavailableError.isInstance(error)).toBe(true);
      expect(error).toMatchObject({ message: inTheWay.message, facts: inTheWay.facts });
    } else {
      await using model = await loadModel(tinyPath, { ...small, device: "cuda" });
      expect(model.info).toMatchObject({ device: "cuda:0", deviceName: devices[0]?.name });
    }
    expect(await failure({ device: "cuda:9999" })).toMatchObject({ code: "DEVICE_UNAVAILABLE" });
  });
});
