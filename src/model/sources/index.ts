// SPDX-License-Identifier: Apache-2.0
// The sources, in the order in which they are asked. To add one: a file beside this one and a line here.

import type { Source } from "./contract.js";
import { hubSource } from "./hub.js";
import { hubModelSource } from "./hub-model.js";
import { localSource } from "./local.js";
import { pythonSource } from "./python.js";

export const sources: readonly Source[] = [localSource, hubSource, hubModelSource, pythonSource];
