// SPDX-License-Identifier: Apache-2.0
// Which file of the repository is which page of the site, in the order of its sidebar. `about` is what llms.txt says.

/** @type {{ text: string, pages: { source: string, page: string, text: string, about: string }[] }[]} */
export const groups = [
  {
    text: "Begin",
    pages: [
      { source: "README.md", page: "overview", text: "Overview", about: "what there is, with figures" },
      {
        source: "docs/install.md",
        page: "install",
        text: "Installing",
        about: "what is installed, what was seen where, and what to do where something is amiss",
      },
      {
        source: "docs/guide/first-chain.md",
        page: "guide/first-chain",
        text: "Your first chain",
        about: "from an empty folder to two stages that share one cache",
      },
      {
        source: "docs/how-it-works.md",
        page: "how-it-works",
        text: "How it works",
        about: "segments, who reads what, frames and shifts, with pictures of the masks",
      },
    ],
  },
  {
    text: "Guides",
    pages: [
      {
        source: "docs/guide/rag.md",
        page: "guide/rag",
        text: "RAG: compress, then answer",
        about:
          "retrieval inside of a chain, passages that only one stage reads, documents kept for any question",
      },
      {
        source: "docs/guide/rounds.md",
        page: "guide/rounds",
        text: "Reasoning in rounds",
        about: "specialists that take turns and read each other's cache, until a condition holds",
      },
      {
        source: "docs/guide/agents.md",
        page: "guide/agents",
        text: "Agents and fan-out",
        about: "sessions, forks, rewinding, snapshots, branches over one trunk",
      },
      {
        source: "docs/guide/structured-output.md",
        page: "guide/structured-output",
        text: "Structured output",
        about: "outputs held to a schema or a regular expression, typed",
      },
      {
        source: "docs/guide/tuning.md",
        page: "guide/tuning",
        text: "Tune a stage",
        about: "training a soft prompt on the chain's own cache",
      },
      {
        source: "docs/server.md",
        page: "server",
        text: "The server",
        about: "chains and models behind OpenAI's API",
      },
      {
        source: "docs/guide/ai-sdk.md",
        page: "guide/ai-sdk",
        text: "In the AI SDK",
        about: "models and chains for generateText and streamText",
      },
      {
        source: "docs/guide/gpu.md",
        page: "guide/gpu",
        text: "GPUs",
        about: "what is built for CUDA, and that nothing has run on a GPU yet",
      },
      {
        source: "docs/guide/from-node-llama-cpp.md",
        page: "guide/from-node-llama-cpp",
        text: "Coming from node-llama-cpp",
        about: "what is called what, and what is there instead",
      },
      {
        source: "docs/guide/from-peft.md",
        page: "guide/from-peft",
        text: "Coming from PEFT",
        about: "prompts in and out, and what differs",
      },
    ],
  },
  {
    text: "Ready to run",
    pages: [
      { source: "examples/README.md", page: "examples", text: "Examples", about: "small projects that run" },
      {
        source: "examples/rag/README.md",
        page: "examples/rag",
        text: "RAG",
        about: "three chains with retrieval",
      },
      {
        source: "examples/recall-reason/README.md",
        page: "examples/recall-reason",
        text: "recall <-> reason",
        about: "rounds under prompts that were trained together",
      },
      {
        source: "examples/agent-fan-out/README.md",
        page: "examples/agent-fan-out",
        text: "Agents",
        about: "forks of one session",
      },
      {
        source: "examples/tune-and-deploy/README.md",
        page: "examples/tune-and-deploy",
        text: "Tune and deploy",
        about: "a stage trained, written and served",
      },
      {
        source: "examples/route-handler/README.md",
        page: "examples/route-handler",
        text: "Route handler",
        about: "a chain as a Web-standard handler",
      },
      {
        source: "prompts/README.md",
        page: "prompts",
        text: "Trained prompts",
        about: "and how they were made",
      },
    ],
  },
  {
    text: "Measured",
    pages: [
      {
        source: "docs/quality.md",
        page: "quality",
        text: "Quality",
        about: "what sharing costs and tuning buys",
      },
      { source: "docs/cpu-avx512.md", page: "cpu-avx512", text: "Speed, AVX-512", about: "every figure" },
      { source: "docs/cpu-avx2.md", page: "cpu-avx2", text: "Speed, AVX2", about: "every figure" },
      { source: "docs/gpu.md", page: "gpu", text: "Speed on GPUs", about: "targets; nothing measured yet" },
      {
        source: "docs/reliability.md",
        page: "reliability",
        text: "Reliability",
        about: "what it was put through",
      },
      { source: "docs/platforms.md", page: "platforms", text: "Platforms", about: "what ran where" },
    ],
  },
  {
    text: "The house",
    pages: [
      {
        source: "ARCHITECTURE.md",
        page: "architecture",
        text: "Architecture",
        about: "folders and data flow",
      },
      { source: "CONTRIBUTING.md", page: "contributing", text: "Contributing", about: "commands and rules" },
      { source: "SECURITY.md", page: "security", text: "Security", about: "what is trusted" },
      { source: "CHANGELOG.md", page: "changelog", text: "Changelog", about: "what changed" },
      { source: "THIRD_PARTY.md", page: "third-party", text: "Third parties", about: "licences" },
    ],
  },
];

export const pages = groups.flatMap((group) => group.pages);
