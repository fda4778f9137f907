// SPDX-License-Identifier: Apache-2.0
// The head of the home page, as VitePress's default theme takes it; home.md is what stands below.
export const head = {
  layout: "home",
  hero: {
    name: "Baton",
    text: "One model, many specialists, one KV cache",
    tagline:
      "A chain of prompt-tuned specialists from TypeScript. What one stage has computed, the next one reads from the cache " +
      "instead of computing it again.",
    image: {
      src: "/files/docs/mask.svg",
      alt: "Who reads whom in a chain of two stages: rows down read rows across",
    },
    actions: [
      { theme: "brand", text: "Your first chain", link: "/guide/first-chain" },
      { theme: "alt", text: "How it works", link: "/how-it-works" },
      { theme: "alt", text: "API", link: "/api/" },
    ],
  },
  features: [
    {
      title: "Handing over costs one token",
      details: "The next stage begins with one forward over its own opener, whatever the context length.",
    },
    {
      title: "Every stage reads what it was told to",
      details:
        "Its own soft prompt, the inputs and outputs that it names, and nothing else. Names are checked by the compiler.",
    },
    {
      title: "Prompts are trained as they are used",
      details:
        "On the KV that the other stages wrote, on the CPU, from TypeScript; in and out as PEFT folders.",
    },
  ],
};
