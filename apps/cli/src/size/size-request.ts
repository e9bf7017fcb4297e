import type { LaunchOptions, SafetensorsRuntime } from '@plumbline/domain';

/** What `plumb size` is asked: a model, how it would be started, and what else is known. */
export interface SizeRequest {
  /** A file, a folder or an address. */
  readonly model: string;
  readonly launch: LaunchOptions;
  readonly mmproj?: string;
  readonly draftModel?: string;
  readonly runtime: SafetensorsRuntime;
  /** Hosts outside the machine's own networks that may be asked. */
  readonly allowHosts: readonly string[];
  /** llama-fit-params, when it may be run. */
  readonly oracle?: string;
  /** What the operator says the model takes, in bytes. */
  readonly declaredBytes?: number;
  readonly signal: AbortSignal;
}

/** Whether a model is named by an address on a server. */
export function isAddress(model: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(model);
}
