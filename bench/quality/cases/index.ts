// SPDX-License-Identifier: Apache-2.0
// All cases of the quality suite, in the order in which they run and stand on the page.
import type { QualityCase } from "../contract.js";
import { comqa } from "./comqa.js";
import { hotpot } from "./hotpot.js";
import { reference } from "./reference.js";

export const cases: readonly QualityCase[] = [reference, hotpot, comqa];
