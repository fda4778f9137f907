// SPDX-License-Identifier: Apache-2.0
// The built site as a reader sees it: every page of the table, the home page and one page of each kind of the API in headless
// Chromium, wide and narrow, light and dark. A page must come without an error on its console, show all of its pictures, and
// not be wider than the screen. Pictures of all of it are left in site/.build/shots.
//
//   shots.mjs [--no-build] [PART OF A PAGE'S NAME...]

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { chromium } from "playwright-core";
import { pages } from "./pages.mjs";
import { build, site } from "./stage.mjs";

const dist = path.join(build, "dist");
const folder = path.join(build, "shots");
const screens = { wide: { width: 1280, height: 900 }, narrow: { width: 390, height: 844 } };
const schemes = ["light", "dark"];
const ofApi = [
  "api/index",
  "api/baton-lm/index",
  "api/baton-lm/classes/Chain",
  "api/baton-lm/functions/loadModel",
];
const types = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".json": "application/json",
};

/** The site by HTTP; 404 for what is not there. */
async function serve() {
  const server = createServer(({ url = "/" }, response) => {
    const place = decodeURI(new URL(url, "http://site").pathname);
    const file = path.join(dist, place.endsWith("/") ? `${place}index.html` : place);
    if (!file.startsWith(dist) || !existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": types[path.extname(file)] ?? "text/plain" });
    response.end(readFileSync(file));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

/** What a reader would miss on the page that is open. */
async function lookAt(tab) {
  return tab.evaluate(async () => {
    for (const image of document.images) image.loading = "eager";
    await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
    const faults = [...document.images]
      .filter((image) => image.naturalWidth === 0 || image.getBoundingClientRect().width < 8)
      .map((image) => `picture ${image.getAttribute("src")} is not to be seen`);
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth > clientWidth) faults.push(`${scrollWidth} px wide on a screen of ${clientWidth}`);
    if (document.querySelector(".NotFound") !== null) faults.push("it is not there");
    return faults;
  });
}

async function shoot(browser, url, names, screen, scheme) {
  const context = await browser.newContext({ viewport: screens[screen], colorScheme: scheme });
  const tab = await context.newPage();
  const faults = [];
  let page = "";
  const fault = (what) => faults.push(`${page} (${screen}, ${scheme}): ${what}`);
  tab.on("console", (message) => message.type() === "error" && fault(message.text()));
  tab.on("pageerror", (error) => fault(error.message));
  tab.on(
    "response",
    (response) => response.status() >= 400 && fault(`${response.status()} ${response.url()}`),
  );
  for (page of names) {
    await tab.goto(`${url}/${page}.html`, { waitUntil: "load" });
    for (const what of await lookAt(tab)) fault(what);
    const file = path.join(folder, `${page.replaceAll("/", "-")}-${screen}-${scheme}.png`);
    await tab.screenshot({ path: file });
  }
  await context.close();
  return faults;
}

const args = process.argv.slice(2);
if (!args.includes("--no-build")) {
  const { status } = spawnSync(process.execPath, [path.join(site, "build.mjs")], { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
const wanted = args.filter((arg) => !arg.startsWith("--"));
const names = ["index", ...pages.map(({ page }) => page), ...ofApi].filter(
  (name) => wanted.length === 0 || wanted.some((part) => name.includes(part)),
);
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const { server, url } = await serve();
const executablePath = process.env.BATON_CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const faults = [];
for (const screen of Object.keys(screens)) {
  for (const scheme of schemes) faults.push(...(await shoot(browser, url, names, screen, scheme)));
}
await browser.close();
server.close();
for (const fault of faults) console.error(fault);
console.log(`${names.length} pages, each seen 4 times, ${faults.length} faults: ${folder}`);
process.exitCode = faults.length === 0 ? 0 : 1;
