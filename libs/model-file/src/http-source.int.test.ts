import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ModelFileError } from './failure.js';
import { ggufBytes } from './gguf.fixture.js';
import { readGguf } from './gguf-reader.js';
import { openHttpFile, type HttpLimits } from './http-source.js';

const words = Array.from({ length: 60_000 }, (_, n) => `token ${n}`);
/** A header of several steps. */
const model = ggufBytes({
  metadata: [
    ['general.architecture', 'str', 'llama'],
    ['tokenizer.ggml.tokens', 'arr:str', words],
  ],
  tensors: [['token_embd.weight', [64, 64], 0]],
});

const open: { close: () => Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

type Answer = (
  range: { from: number; to: number },
  response: ServerResponse,
  request: IncomingMessage,
  n: number,
) => void;

/** A server on loopback; counts what it could send. */
async function serve(answer: Answer): Promise<{ url: string; sent: () => number; requests: () => number }> {
  let requests = 0;
  const sockets = new Set<Socket>();
  let sent = 0;
  const server: Server = createServer((request, response) => {
    const [, from = '0', to = '0'] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    requests += 1;
    answer({ from: Number(from), to: Number(to) }, response, request, requests);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => void (sent += socket.bytesWritten));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  open.push({
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/m.gguf`;
  return { url, sent: () => sent, requests: () => requests };
}

/** What an honest server does. */
const honest: Answer = ({ from, to }, response) => {
  const end = Math.min(to, model.length - 1);
  response.writeHead(206, {
    'content-range': `bytes ${from}-${end}/${model.length}`,
    'content-length': end - from + 1,
    etag: '"1"',
  });
  response.end(model.subarray(from, end + 1));
};

/** An honest server's head with some fields changed. */
function answering(
  change: (range: { from: number; to: number }, n: number) => Record<string, string | number>,
): Answer {
  return ({ from, to }, response, _request, n) => {
    const end = Math.min(to, model.length - 1);
    const head = {
      'content-range': `bytes ${from}-${end}/${model.length}`,
      etag: '"1"',
      ...change({ from, to: end }, n),
    };
    response.writeHead(206, head);
    response.end(model.subarray(from, end + 1));
  };
}

const status =
  (code: number, headers: Record<string, string> = {}): Answer =>
  (_range, response) => {
    response.writeHead(code, headers);
    response.end();
  };

async function read(url: string, limits: HttpLimits = {}) {
  const source = await openHttpFile(url, { idleMs: 2_000, rangeMs: 4_000, ...limits });
  return readGguf(source, { headerBytesMax: 4 << 20, stepBytes: 128 * 1024 });
}

async function fault(url: string, limits?: HttpLimits): Promise<ModelFileError> {
  const error = await read(url, limits).then(
    () => new Error('nothing was wrong'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ModelFileError)) throw error;
  expect(error.mend).not.toBe('');
  return error;
}

describe('an honest server', () => {
  it('is asked for the header alone', async () => {
    const server = await serve(honest);
    const file = await read(server.url);
    expect(file.metadata.get('tokenizer.ggml.tokens')).toMatchObject({ length: 60_000 });
    expect(file.tensors).toHaveLength(1);
    expect(server.requests()).toBeGreaterThan(2);
  });

  it('may redirect on the same host', async () => {
    const server = await serve((range, response, request, n) =>
      request.url === '/m.gguf'
        ? status(302, { location: '/elsewhere' })(range, response, request, n)
        : honest(range, response, request, n),
    );
    expect((await read(server.url)).tensors).toHaveLength(1);
  });
});

describe('a hostile server', () => {
  it('that ignores Range and sends 40 GB is dropped before the body', async () => {
    const server = await serve((_range, response) => {
      response.writeHead(200, { 'content-length': 40_000_000_000 });
      const chunk = Buffer.alloc(65_536);
      const pour = (): void => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on('drain', pour);
      pour();
    });
    const error = await fault(server.url);
    expect(error.fault).toBe('ignored-range');
    await open.splice(0)[0]?.close();
    expect(server.sent()).toBeLessThan(16 << 20);
  });

  it.each<[string, Answer, string]>([
    [
      'another range',
      answering(({ from, to }) => ({ 'content-range': `bytes ${from + 1}-${to + 1}/${model.length}` })),
      'wrong-range',
    ],
    [
      'less than asked for',
      answering(({ from, to }) => ({ 'content-range': `bytes ${from}-${to - 1}/${model.length}` })),
      'wrong-range',
    ],
    ['no range', answering(() => ({ 'content-range': '' })), 'wrong-range'],
    [
      'an unknown length',
      answering(({ from, to }) => ({ 'content-range': `bytes ${from}-${to}/*` })),
      'unknown-length',
    ],
    [
      'a length of 10^16',
      answering(({ from, to }) => ({ 'content-range': `bytes ${from}-${to}/9999999999999999` })),
      'unknown-length',
    ],
    [
      'a length in words',
      answering(({ from, to }) => ({ 'content-range': `bytes ${from}-${to}/many` })),
      'wrong-range',
    ],
    ['zipped', answering(() => ({ 'content-encoding': 'gzip' })), 'encoded'],
    ['a new version in the middle', answering((_range, n) => ({ etag: `"${n}"` })), 'changed'],
    [
      'a longer file in the middle',
      answering(({ from, to }, n) => ({ 'content-range': `bytes ${from}-${to}/${model.length + n}` })),
      'changed',
    ],
    ['nothing there', status(404), 'not-found'],
    ['a locked door', status(401), 'unauthorized'],
    ['a gate', status(403), 'unauthorized'],
    ['an empty file', status(416), 'wrong-range'],
    ['a redirect to nowhere', status(302), 'redirect'],
    ['a redirect to a file', status(302, { location: 'file:///etc/passwd' }), 'redirect'],
    ['a redirect in a circle', status(302, { location: '/m.gguf' }), 'redirect'],
    ['trouble', status(503), 'status'],
  ])('with %s', async (_, answer, name) => {
    const server = await serve(answer);
    const error = await fault(server.url);
    expect(error.fault).toBe(name);
    expect(server.requests()).toBeLessThan(8);
  });

  it('tells what may be better later from what will not', async () => {
    expect((await fault((await serve(status(503))).url)).retry).toBe('later');
    expect((await fault((await serve(status(404))).url)).retry).toBe('never');
  });

  it('that announces more or fewer bytes than its range', async () => {
    const says = async (bytes: number): Promise<string> => {
      const server = await serve(({ from, to }, response) => {
        response.writeHead(206, { 'content-range': `bytes ${from}-${to}/${model.length}`, 'content-length': bytes });
        response.end(Buffer.alloc(Math.min(bytes, 200_000)));
      });
      return (await fault(server.url)).message;
    };
    expect(await says(10)).toMatch(/announces 10 bytes for a range of/);
    expect(await says(5_000_000_000)).toMatch(/announces 5000000000 bytes for a range of/);
  });

  it('that sends more than it announced, without end', async () => {
    const server = await serve(({ from, to }, response) => {
      response.writeHead(206, { 'content-range': `bytes ${from}-${to}/${model.length}` });
      const chunk = Buffer.alloc(65_536);
      const pour = (): void => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on('drain', pour);
      pour();
    });
    expect((await fault(server.url)).fault).toBe('wrong-length');
    await open.splice(0)[0]?.close();
    expect(server.sent()).toBeLessThan(16 << 20);
  });

  it('that breaks off in the middle', async () => {
    const server = await serve(({ from, to }, response) => {
      response.writeHead(206, {
        'content-range': `bytes ${from}-${to}/${model.length}`,
        'content-length': to - from + 1,
      });
      response.write(model.subarray(from, from + 100), () => response.destroy());
    });
    expect(['wrong-length', 'unreachable']).toContain((await fault(server.url)).fault);
  });

  it('that drips is given up in bounded time', async () => {
    const server = await serve(({ from, to }, response) => {
      response.writeHead(206, {
        'content-range': `bytes ${from}-${to}/${model.length}`,
        'content-length': to - from + 1,
      });
      const timer = setInterval(() => response.write(Buffer.alloc(1)), 20);
      response.on('close', () => clearInterval(timer));
    });
    expect((await fault(server.url, { rangeMs: 300, idleMs: 60_000 })).fault).toBe('timeout');
  });

  it('that says nothing at all, or headers without end', async () => {
    const silent = await serve(() => {});
    expect((await fault(silent.url, { idleMs: 200 })).fault).toBe('timeout');
    const tcp = createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.write('HTTP/1.1 206 Partial Content\r\n');
      const pour = (): void => {
        while (!socket.destroyed && socket.write(`x-${'a'.repeat(60_000)}: 1\r\n`));
      };
      socket.on('drain', pour);
      pour();
    });
    await new Promise<void>((resolve) => void tcp.listen(0, '127.0.0.1', resolve));
    open.push({ close: async () => void (await new Promise((resolve) => tcp.close(resolve))) });
    const error = await fault(`http://127.0.0.1:${(tcp.address() as AddressInfo).port}/m.gguf`);
    expect(error.fault).toBe('unreachable');
  });

  it('with a header that never ends', async () => {
    const endless = ggufBytes({ metadataCount: 8_000n, metadata: [] });
    const key = Buffer.alloc(8 + 8 + 4 + 1);
    const server = await serve(({ from, to }, response, _request, n) => {
      const body = Buffer.alloc(to - from + 1);
      for (let at = 0; at < body.length; at += 1) {
        const position = from + at;
        if (position < endless.length) body[at] = endless[position] ?? 0;
        else {
          const index = Math.floor((position - endless.length) / key.length);
          const offset = (position - endless.length) % key.length;
          key.writeBigUInt64LE(8n, 0);
          key.write(String(index).padStart(8, 'k'), 8);
          key.writeUInt32LE(7, 16);
          body[at] = key[offset] ?? 0;
        }
      }
      response.writeHead(206, {
        'content-range': `bytes ${from}-${to}/90000000000`,
        etag: '"1"',
        'content-length': body.length,
      });
      response.end(body);
      void n;
    });
    const source = await openHttpFile(server.url);
    await expect(readGguf(source, { headerBytesMax: 100_000, stepBytes: 32_768 })).rejects.toMatchObject({
      fault: 'over-limit',
    });
    expect(server.requests()).toBeLessThan(8);
  });
});

describe('where a request may go', () => {
  it('not to another host, unless it is named', async () => {
    const there = await serve(honest);
    const port = new URL(there.url).port;
    const here = await serve(status(302, { location: `http://localhost:${port}/m.gguf` }));
    const error = await fault(here.url);
    expect(error).toMatchObject({
      fault: 'redirect',
      mend: expect.stringContaining('--allow-host localhost') as string,
    });
    expect(there.requests()).toBe(0);
    expect((await read(here.url, { allowHosts: ['localhost'] })).tensors).toHaveLength(1);
  });

  it.each([
    ['http://8.8.8.8/m.gguf', 'forbidden-address'],
    ['http://[2001:4860:4860::8888]/m.gguf', 'forbidden-address'],
    ['ftp://127.0.0.1/m.gguf', 'bad-url'],
    ['http://user:secret@127.0.0.1/m.gguf', 'bad-url'],
    ['http://127.0.0.1:1/m.gguf', 'unreachable'],
    ['http://no-such-host.invalid/m.gguf', 'unresolved'],
  ])('%s: %s', async (url, name) => {
    const error = await fault(url);
    expect(error.fault).toBe(name);
    expect(`${error.message} ${error.mend}`).not.toContain('secret');
  });

  it('nowhere once it was interrupted', async () => {
    const server = await serve(() => {});
    const stop = new AbortController();
    const reading = fault(server.url, { signal: stop.signal });
    stop.abort();
    expect((await reading).fault).toBe('interrupted');
  });
});
