import { open, type FileHandle } from 'node:fs/promises';
import { ModelFileError } from './failure.js';

/** Bytes of one model file that can be read from anywhere within it. */
export interface ByteSource {
  /** For people: a path or a URL without its query. */
  readonly label: string;
  readonly sizeBytes: number;
  /** Exactly `length` bytes from `offset`; both within the file. Throws {@link ModelFileError}. */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A file on disk. Throws {@link ModelFileError} for what is not there, not a plain file or not readable. */
export async function openLocalFile(path: string): Promise<ByteSource> {
  const handle = await openHandle(path);
  try {
    const stat = await handle.stat();
    if (!stat.isFile())
      throw new ModelFileError('not-a-file', `${path} is not a plain file.`, 'Name the .gguf file itself.');
    return localSource(path, handle, stat.size);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function localSource(path: string, handle: FileHandle, sizeBytes: number): ByteSource {
  return {
    label: path,
    sizeBytes,
    read: async (offset, length) => {
      const bytes = new Uint8Array(length);
      let filled = 0;
      while (filled < length) {
        const { bytesRead } = await handle.read(bytes, filled, length - filled, offset + filled);
        if (bytesRead === 0)
          throw new ModelFileError(
            'truncated',
            `${path} ended at ${offset + filled} bytes while it was read; it had ${sizeBytes}.`,
            'Wait until whatever writes it is done.',
            { retry: 'later' },
          );
        filled += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
}

async function openHandle(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new ModelFileError('not-found', `There is no file ${path}.`, 'Check the path.', { cause: error });
    throw new ModelFileError('unreadable', `${path} cannot be opened (${code}).`, 'Check its permissions.', {
      cause: error,
    });
  }
}
