// SPDX-License-Identifier: Apache-2.0
// The routes of the server. A new one is a file and a line here.

import type { Route } from "../route.js";
import { chains } from "./chains.js";
import { chatCompletions } from "./chat-completions.js";
import { completions } from "./completions.js";
import { health } from "./health.js";
import { metrics } from "./metrics.js";
import { models } from "./models.js";
import { openapi } from "./openapi.js";
import { sessions } from "./sessions.js";

export const routes: readonly Route[] = [
  chatCompletions,
  completions,
  models,
  chains,
  sessions,
  health,
  metrics,
  openapi,
];
