// SPDX-License-Identifier: Apache-2.0
// dist/bundle/vendor: the packages that only the server needs, as far as it uses them. They are no dependencies of the
// package: a program without a server does not install them, `baton serve` needs no second command, and a project's own
// version of one of them is no conflict. Which names are taken is read off the compiled modules; THIRD_PARTY.md has the licences.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { root } from "./run.mjs";

/** Packages of `devDependencies` that go into the package. All that they need themselves goes with them. */
export const vendored = ["@hono/node-server", "@hono/zod-openapi", "hono", "prom-client"];

const packageOf = (specifier) =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");

const isVendored = (specifier) => vendored.includes(packageOf(specifier));

const importPattern = /^import \{([^}]*)\} from "([^".][^"]*)";$/gm;

/** Specifier -> the names that modules of `folder` import from it, of packages that are vendored. */
export function vendorImports(folder) {
  const found = new Map();
  const files = readdirSync(folder, { recursive: true }).filter((file) => file.endsWith(".js"));
  for (const file of files.sort()) {
    const text = readFileSync(path.join(folder, file), "utf8");
    for (const [, names, specifier] of text.matchAll(importPattern)) {
      if (!isVendored(specifier)) continue;
      const all = found.get(specifier) ?? new Set();
      for (const name of names.split(",")) all.add(name.trim().split(/\s+as\s+/)[0]);
      found.set(specifier, all);
    }
  }
  return found;
}

const fileOf = (specifier) => specifier.replace(/^@/, "").replaceAll("/", "-");

/** For the bundle that imports them: a vendored package is a file beside it. */
export const vendorPlugin = {
  name: "vendored packages",
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, ({ path: specifier }) =>
      isVendored(specifier) ? { path: `./vendor/${fileOf(specifier)}.js`, external: true } : undefined,
    );
  },
};

/** Entries as text: the names of one specifier each. */
function entriesPlugin(imports) {
  return {
    name: "names of vendored packages",
    setup(build) {
      build.onResolve({ filter: /^names-of:/ }, ({ path: id }) => ({
        path: id.slice(9),
        namespace: "names",
      }));
      build.onLoad({ filter: /.*/, namespace: "names" }, ({ path: specifier }) => ({
        contents: `export { ${[...imports.get(specifier)].join(", ")} } from "${specifier}";`,
        resolveDir: root,
      }));
    },
  };
}

/** zod's messages in fifty languages, of which the server speaks one: half of all that is vendored. */
const englishOnly = {
  name: "zod in English",
  setup(build) {
    build.onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({
      contents: 'export { default as en } from "./en.js";',
    }));
  },
};

/** What esbuild is told to make of the vendored packages that modules of `folder` import. */
export function vendorBuild(folder) {
  const imports = vendorImports(folder);
  return {
    entryPoints: Object.fromEntries(
      [...imports.keys()].map((one) => [`vendor/${fileOf(one)}`, `names-of:${one}`]),
    ),
    plugins: [entriesPlugin(imports), englishOnly],
    minify: true,
    chunkNames: "vendor/chunk-[hash]",
    // packages that are CommonJS ask for Node's modules by a `require` that ES modules lack
    banner: {
      js: 'import { createRequire as vendorRequire } from "node:module"; const require = vendorRequire(import.meta.url);',
    },
  };
}
