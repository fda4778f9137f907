// SPDX-License-Identifier: Apache-2.0
// Finds the compiled addon and makes its errors typed. Order: the path in BATON_ADDON (then nothing else is tried),
// the local build of this checkout, the package with the CUDA library, the installed platform package. Nothing is
// downloaded or compiled here, and a failure lists every place that was tried with the reason, and what to run.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ErrorFacts } from "../errors.js";
import { errorFromCode, NativeLoadError } from "../errors.js";
import { here, requireHere } from "./here.js";
import type { NativeBinding } from "./types.js";
import { cutOff } from "./whole-file.js";

/** Version of the seam in types.ts that this code was written for. */
export const nativeApiVersion = 1;

const packageName = "baton-lm";

/** One place to look: what it is called in messages, and the file or module to require. */
export interface AddonCandidate {
  label: string;
  /** Absolute path or package name. */
  request: string;
  /** A file that must exist (a package is resolved instead). */
  file: boolean;
  /** Installed by those who want it: nobody hears that it is absent. */
  extra?: boolean;
}

type Require = ((request: string) => unknown) & { resolve(request: string): string };

/** e.g. "linux-x64-gnu": platform, architecture, and on Linux the C library. */
export function platformTag(): string {
  const base = `${process.platform}-${process.arch}`;
  return process.platform === "linux" ? `${base}-${linuxLibc(ownMaps(), glibcOfReport)}` : base;
}

function ownMaps(): string {
  try {
    return readFileSync("/proc/self/maps", "latin1");
  } catch {
    return ""; // no /proc
  }
}

/** As Node reports it; undefined: no glibc. */
export function glibcOfReport(): string | undefined {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime;
}

/**
 * By the libraries that a process has mapped. The name of glibc's goes first: a folder of whatever name may be mapped, too.
 * @param glibcVersion asked where they do not say (Node's report of itself takes some milliseconds); undefined: no glibc
 */
export function linuxLibc(maps: string, glibcVersion: () => string | undefined): "gnu" | "musl" {
  if (/\/libc(?:\.so\.6|-2\.\d+\.so)$/m.test(maps)) return "gnu";
  if (/\/(?:ld-musl-[^/]*|libc\.musl-[^/]*|[^/]*-linux-musl\/libc\.so)$/m.test(maps)) return "musl";
  return glibcVersion() === undefined ? "musl" : "gnu";
}

interface Manifest {
  name?: string;
  version?: string;
  optionalDependencies?: Record<string, string>;
}

const manifestOf = (folder: string) =>
  JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;

/** The folder of this package's package.json, found by walking up from this file. */
export function packageRoot(from: string = dirname(fileURLToPath(here))): string | null {
  for (let folder = from; ; folder = dirname(folder)) {
    const manifest = join(folder, "package.json");
    if (existsSync(manifest)) {
      if (manifestOf(folder).name === packageName) return folder;
    }
    if (dirname(folder) === folder) return null;
  }
}

const versionIn = (file: string) => (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;

/** In a program that was bundled with this package inside: both have the same version. */
function versionOfPlatformPackage(): string {
  try {
    return versionIn(requireHere.resolve(`@${packageName}/${platformTag()}/package.json`));
  } catch {
    return "unknown";
  }
}

let version: string | undefined;

/** Of this package. */
export function packageVersion(): string {
  if (version !== undefined) return version;
  const root = packageRoot();
  version = root === null ? versionOfPlatformPackage() : versionIn(join(root, "package.json"));
  return version;
}

export function addonCandidates(environment: NodeJS.ProcessEnv = process.env): AddonCandidate[] {
  const asked = environment.BATON_ADDON;
  if (asked !== undefined && asked !== "") {
    return [{ label: "BATON_ADDON", request: asked, file: true }];
  }
  const candidates: AddonCandidate[] = [];
  const root = packageRoot();
  if (root !== null) {
    const request = join(root, "build", "Release", "baton.node");
    candidates.push({ label: "local build", request, file: true });
  }
  const request = `@${packageName}/${platformTag()}`;
  candidates.push({ label: "CUDA package", request: `${request}-cuda`, file: false, extra: true });
  candidates.push({ label: "platform package", request, file: false });
  return candidates;
}

/** Loads the first candidate that works; throws NativeLoadError naming all of them when none does. */
export function loadAddon(candidates: readonly AddonCandidate[], require: Require): NativeBinding {
  const tried: string[] = [];
  for (const candidate of candidates) {
    const { request } = candidate;
    const place = `${candidate.label} ${request}`;
    if (candidate.file && !existsSync(request)) {
      tried.push(`${place}: no such file`);
      continue;
    }
    try {
      const damage = cutOff(require.resolve(request));
      if (damage !== null) {
        tried.push(`${place}: ${damage}`);
        continue;
      }
      const binding = require(request) as Partial<NativeBinding>;
      if (binding.apiVersion === nativeApiVersion) return binding as NativeBinding;
      tried.push(
        `${place}: has interface version ${String(binding.apiVersion)}, this package needs ${nativeApiVersion}`,
      );
    } catch (error) {
      if (candidate.extra && isAbsent(error, request)) continue;
      tried.push(`${place}: ${firstLine(error)}`);
    }
  }
  throw new NativeLoadError(
    `The compiled addon could not be loaded on ${platformTag()} (Node ${process.version}). Tried: ${tried.join("; ")}. ` +
      remedy(),
    { facts: { tried, platform: platformTag(), node: process.version } },
  );
}

/** The one command that gets the addon here: of a checkout, of a platform that has a package, of any other. */
function remedy(root = packageRoot()): string {
  const published = root === null ? undefined : manifestOf(root).optionalDependencies;
  if (root !== null && published === undefined) return 'To compile it run "npm run build".';
  const wanted = `@${packageName}/${platformTag()}`;
  const compiled = '"npx baton build", which needs CMake and a C++ compiler';
  const exact = published?.[wanted];
  if (published !== undefined && exact === undefined) {
    return `There is no package for this platform: run ${compiled}.`;
  }
  return `To install it run "npm install --no-save ${wanted}@${exact ?? packageVersion()}"; or ${compiled}.`;
}

function isAbsent(error: unknown, request: string): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return code === "MODULE_NOT_FOUND" && String(message).includes(`'${request}'`);
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n", 1)[0] ?? message;
}

/** What the addon throws or rejects with. */
interface NativeFailure {
  code: string;
  message: string;
  facts: ErrorFacts;
}

function isNativeFailure(error: unknown): error is NativeFailure {
  if (typeof error !== "object" || error === null) return false;
  const { code, facts } = error as Record<string, unknown>;
  return typeof code === "string" && typeof facts === "object" && facts !== null;
}

/** The typed error for whatever the addon threw; anything that is not the addon's own passes unchanged. */
export function typedError(error: unknown): unknown {
  if (!isNativeFailure(error)) return error;
  return errorFromCode(error.code, error.message, { facts: error.facts });
}

type AnyFunction = (...args: unknown[]) => unknown;

function typed(call: AnyFunction): AnyFunction {
  return (...args) => {
    try {
      const value = call(...args);
      if (!(value instanceof Promise)) return value;
      return value.catch((error: unknown) => {
        throw typedError(error);
      });
    } catch (error) {
      throw typedError(error);
    }
  };
}

/** The same binding with every thrown or rejected native error turned into its class. */
export function withTypedErrors(binding: NativeBinding): NativeBinding {
  const wrapped: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(binding)) {
    wrapped[name] = typeof value === "function" ? typed(value as AnyFunction) : value;
  }
  return wrapped as unknown as NativeBinding;
}

let loaded: NativeBinding | null = null;

/** The addon of this environment (each worker thread has its own). Throws NativeLoadError. */
export function loadNative(): NativeBinding {
  loaded ??= withTypedErrors(loadAddon(addonCandidates(), requireHere));
  return loaded;
}
