import { mkdir, open, readFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { appendRequestSchema, type AppendRequest } from '@plumbline/domain';
import { failpoint } from '@plumbline/failpoint';
import { z } from 'zod';

const FACTS = 'facts.jsonl';
/** Facts that the ledger will never take, and lines that cannot be read, for the operator to look at. */
const SET_ASIDE = 'facts-set-aside.jsonl';

const lineSchema = z.union([z.strictObject({ fact: appendRequestSchema }), z.strictObject({ settled: z.string() })]);

/**
 * Facts on their way to the ledger, on disk until it has them. One file of JSON lines, appended to and synchronised before a fact
 * counts as recorded; emptied whenever nothing waits. Each fact keeps its command id, so that sending it again after a
 * crash changes nothing. Belongs to one process at a time.
 */
export class FactSpool {
  readonly #pending = new Map<string, AppendRequest>();
  #sizeBytes = 0;
  /** A failed write may have left a piece of a line that could not be cut off either. */
  #torn = false;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly folder: string,
    private readonly file: FileHandle,
  ) {}

  /** Opens the spool of a folder, with what an earlier process left in it; the folder is created. `setAside`: lines that could not be read. */
  static async open(folder: string): Promise<{ spool: FactSpool; setAside: number }> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const file = await open(join(folder, FACTS), 'a+', 0o600);
    await synchroniseFolder(folder);
    const spool = new FactSpool(folder, file);
    return { spool, setAside: await spool.#load() };
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** The fact that has waited longest; undefined when none waits. */
  get oldest(): AppendRequest | undefined {
    return this.#pending.values().next().value;
  }

  /** Resolves once the fact is safe on disk. Rejects with the system's error if it is not; the spool is then as before. */
  add(fact: AppendRequest): Promise<void> {
    return this.#inTurn(async () => {
      await this.#write({ fact }, { durable: true });
      failpoint('fact.spooled');
      this.#pending.set(fact.commandId, fact);
    });
  }

  /** The ledger has it. */
  settle(commandId: string): Promise<void> {
    return this.#inTurn(async () => {
      this.#pending.delete(commandId);
      if (this.#pending.size === 0) await this.#truncate(0);
      // Not synchronised: if this line is lost, the fact is sent once more, which changes nothing.
      else await this.#write({ settled: commandId }, { durable: false });
    });
  }

  /** The ledger will never take it: kept apart with the reason, so that it holds up nothing and is not lost either. */
  setAside(fact: AppendRequest, why: string): Promise<void> {
    return this.#inTurn(() => this.#keepAside([JSON.stringify({ why, fact })])).then(() => this.settle(fact.commandId));
  }

  async close(): Promise<void> {
    await this.#last.catch(() => undefined);
    await this.file.close();
  }

  async #load(): Promise<number> {
    const bytes = await readFile(join(this.folder, FACTS));
    // What stands behind the last line end was cut off by a crash before anybody was told that it is safe.
    const wholeBytes = bytes.lastIndexOf('\n') + 1;
    const unreadable: string[] = [];
    for (const line of bytes.subarray(0, wholeBytes).toString('utf8').split('\n')) {
      if (line === '') continue;
      const parsed = lineSchema.safeParse(jsonOf(line));
      if (!parsed.success) unreadable.push(line);
      else if ('fact' in parsed.data) this.#pending.set(parsed.data.fact.commandId, parsed.data.fact);
      else this.#pending.delete(parsed.data.settled);
    }
    if (unreadable.length > 0) {
      await this.#keepAside(unreadable.map((line) => JSON.stringify({ why: 'not readable as a fact', line })));
    }
    await this.#truncate(this.#pending.size === 0 ? 0 : wholeBytes);
    return unreadable.length;
  }

  async #keepAside(lines: readonly string[]): Promise<void> {
    const aside = await open(join(this.folder, SET_ASIDE), 'a', 0o600);
    try {
      await aside.appendFile(lines.map((line) => `${line}\n`).join(''));
      await aside.datasync();
    } finally {
      await aside.close();
    }
  }

  /** Appends one whole line or nothing: a piece of a line would spoil the next one. */
  async #write(line: z.input<typeof lineSchema>, { durable }: { durable: boolean }): Promise<void> {
    const bytes = Buffer.from(`${this.#torn ? '\n' : ''}${JSON.stringify(line)}\n`);
    try {
      await this.file.appendFile(bytes);
      if (durable) await this.file.datasync();
      this.#sizeBytes += bytes.length;
      this.#torn = false;
    } catch (error) {
      this.#torn = true;
      await this.#truncate(this.#sizeBytes);
      throw error;
    }
  }

  async #truncate(sizeBytes: number): Promise<void> {
    await this.file.truncate(sizeBytes);
    this.#sizeBytes = sizeBytes;
    this.#torn = false;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn;
    return turn;
  }
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** A new file's name is on disk only when its folder is. */
async function synchroniseFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
