import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

type StreamName = 'stdout' | 'stderr';

/**
 * Collects both output streams up to one common limit in bytes. What exceeds it is drained and dropped, so that a flooding process
 * can neither fill memory nor block on a full pipe while it is being killed.
 */
export class OutputCapture {
  truncated = false;
  private readonly kept: Record<StreamName, Buffer[]> = { stdout: [], stderr: [] };
  private keptBytes = 0;

  constructor(
    private readonly limitBytes: number,
    private readonly onLimit: () => void,
    private readonly onOutput: ((stream: StreamName, chunk: string) => void) | undefined,
  ) {}

  attach(name: StreamName, stream: Readable): void {
    const decoder = new StringDecoder('utf8');
    const tell = (text: string) => {
      if (text !== '') this.onOutput?.(name, text);
    };
    stream.on('data', (chunk: Buffer) => tell(decoder.write(this.keep(name, chunk))));
    stream.on('end', () => tell(decoder.end()));
    // A broken pipe at kill time is no news: the end of the process is what counts.
    stream.on('error', () => undefined);
  }

  /** Everything kept of one stream; bytes that are not UTF-8 become U+FFFD. */
  text(name: StreamName): string {
    return Buffer.concat(this.kept[name]).toString('utf8');
  }

  private keep(name: StreamName, chunk: Buffer): Buffer {
    const room = this.limitBytes - this.keptBytes;
    const part = chunk.length <= room ? chunk : chunk.subarray(0, room);
    this.keptBytes += part.length;
    if (part.length > 0) this.kept[name].push(part);
    if (part.length < chunk.length && !this.truncated) {
      this.truncated = true;
      this.onLimit();
    }
    return part;
  }
}
