// SPDX-License-Identifier: Apache-2.0
// The models that are served: by the name that requests give, with the template of each, parsed once.

import type { ChatTemplate, Model } from "../index.js";
import { OptionInvalidError } from "../index.js";
import { ToolTemplate } from "../model/tools/template.js";

/** Before the name of a chain that is asked for as if it were a model. */
export const chainPrefix = "chain:";

export class ServedModel {
  readonly name: string;
  readonly model: Model;
  #template: ChatTemplate | null = null;
  #chat: ToolTemplate | null = null;

  constructor(name: string, model: Model) {
    this.name = name;
    this.model = model;
  }

  /** Throws TEMPLATE_INVALID for a model without one. */
  get template(): ChatTemplate {
    this.#template ??= this.model.template();
    return this.#template;
  }

  /** The same, for messages with tools. */
  get chat(): ToolTemplate {
    this.#chat ??= new ToolTemplate(this.template);
    return this.#chat;
  }
}

/** Throws OPTION_INVALID. */
export function servedModels(models: Readonly<Record<string, Model>>): Map<string, ServedModel> {
  const served = new Map<string, ServedModel>();
  for (const [name, model] of Object.entries(models)) {
    if (name === "" || name.length > 256 || name.startsWith(chainPrefix)) {
      throw new OptionInvalidError(
        `A model cannot be served as ${JSON.stringify(name)}. Give a name of 1 to 256 characters that does not begin ` +
          `with "${chainPrefix}".`,
        { facts: { option: "models", value: name } },
      );
    }
    served.set(name, new ServedModel(name, model));
  }
  return served;
}
