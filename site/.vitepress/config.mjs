// SPDX-License-Identifier: Apache-2.0
// The site as VitePress builds it from what stage.mjs and api.mjs have laid out.
import path from "node:path";
import { defineConfig } from "vitepress";
import { apiSidebar } from "../api.mjs";
import { groups } from "../pages.mjs";
import { build, staged } from "../stage.mjs";

// links to such files lead to files, not to pages
process.env.VITE_EXTRA_EXTENSIONS = "jsonl,mjs,safetensors,sh,ts";

const guides = groups.map(({ text, pages }) => ({
  text,
  items: pages.map(({ text, page }) => ({ text, link: `/${page}` })),
}));

const base = process.env.BATON_DOCS_BASE ?? "/";

export default defineConfig({
  title: "Baton",
  description: "Chains of prompt-tuned specialists over one frozen language model and one KV cache",
  srcDir: staged,
  outDir: path.join(build, "dist"),
  cacheDir: path.join(build, "cache"),
  cleanUrls: false,
  // it is read from a folder, a server of one's own or a host of pages: BATON_DOCS_BASE=/name/ for the last
  base,
  head: [["link", { rel: "icon", type: "image/svg+xml", href: `${base}icon.svg` }]],
  markdown: { theme: { light: "github-light", dark: "github-dark" } },
  vite: { build: { chunkSizeWarningLimit: 4096 } }, // the index of the search is one piece
  themeConfig: {
    nav: [
      { text: "Guide", link: "/guide/first-chain" },
      { text: "How it works", link: "/how-it-works" },
      { text: "API", link: "/api/" },
      { text: "Measured", link: "/quality" },
    ],
    sidebar: { "/api/": apiSidebar(), "/": guides },
    logo: "/icon.svg",
    outline: { level: [2, 3] },
    search: { provider: "local" },
  },
});
