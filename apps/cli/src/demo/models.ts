import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { OfferedModel } from '@plumbline/domain';
import { CliError } from '../failure.js';
import { findModel, offeredModel } from '../system/model.js';
import { startService } from '../supervisor/service-process.js';

/** The models of a demo: scripted ones, served by a process of ours, or a real one somebody else serves. */
export interface DemoModels {
  readonly scripted: boolean;
  readonly url: string;
  readonly offered: readonly OfferedModel[];
  stop(): Promise<void>;
}

/**
 * Starts the scripted model server, which plays scenario files and stands in for a model. It is a process like a real model server, so that
 * nothing between the services and a model is left out.
 */
export async function scriptedModels(
  options: { root: string; scenarios: string; logs: string },
  signal: AbortSignal,
): Promise<DemoModels> {
  const entry = join(options.root, 'libs', 'testing', 'dist', 'scripted-model', 'main.js');
  if (!existsSync(entry)) {
    throw new CliError(
      `The scripted model server is not built: ${entry} does not exist.`,
      'Run `npm run setup` in the checkout.',
    );
  }
  const server = await startService(
    {
      name: 'scripted-model',
      command: [process.execPath, entry, '--scenario', options.scenarios],
      env: { PATH: process.env['PATH'] ?? '' },
      cwd: options.logs,
      logPath: join(options.logs, 'scripted-model.log'),
      readyTimeoutMs: 20_000,
      stopPatienceMs: 5_000,
      readyLine: listeningAddress,
    },
    signal,
  );
  const url = server.http ?? '';
  return {
    scripted: true,
    url,
    offered: [
      offeredModel(url, 'scripted/coder', { family: 'scripted', seats: ['coder'] }),
      offeredModel(url, 'scripted/reviewer', { family: 'scripted', seats: ['concluder'] }),
    ],
    stop: async () => void (await server.stop()),
  };
}

/** A real model in every seat. */
export async function realModel(url: string, name: string | undefined, signal: AbortSignal): Promise<DemoModels> {
  return { scripted: false, url, offered: [await findModel(url, name, signal)], stop: async () => {} };
}

function listeningAddress(line: string): string | undefined {
  try {
    const { url } = JSON.parse(line) as { url?: unknown };
    return typeof url === 'string' ? url : undefined;
  } catch {
    return undefined;
  }
}
