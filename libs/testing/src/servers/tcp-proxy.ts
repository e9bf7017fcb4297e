import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { NatsDoubler } from './nats-doubler.js';

interface Pair {
  client: Socket;
  server: Socket;
  doubler: NatsDoubler;
  /** How much more of the upload that the client sends is let through before it is cut; undefined while none is to be cut. */
  uploadLeftBytes?: number;
}

/**
 * A wire between one process and one server that can be cut, made to drip, made to deliver twice, or cut in the middle of an upload. Bytes
 * are handed on unchanged otherwise.
 */
export class TcpProxy {
  /** Deliveries that came twice, connections that were cut, uploads that were cut in the middle: what really happened on this wire. */
  readonly counts = { doubled: 0, cut: 0, uploadsCut: 0, dripped: 0 };
  private readonly pairs = new Set<Pair>();
  private isCut = false;
  private doubles = false;
  private dripMs = 0;
  private cutsNextUpload = false;

  private constructor(
    private readonly listener: Server,
    private readonly target: () => { host: string; port: number },
  ) {}

  /** Listens on a free port of this machine; `target` is asked at every connection. */
  static async start(target: () => { host: string; port: number }): Promise<TcpProxy> {
    const listener = createServer();
    const proxy = new TcpProxy(listener, target);
    listener.on('connection', (client) => proxy.join(client));
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.listener.address() as AddressInfo).port;
  }

  /** Ends every connection and refuses new ones until `heal`. */
  cut(): void {
    this.isCut = true;
    for (const pair of [...this.pairs]) this.end(pair);
  }

  /** From now on a chunk waits `ms` on its way to the client before the next one is read. */
  drip(ms: number): void {
    this.dripMs = ms;
  }

  /** From now on every JetStream delivery comes twice; only for connections made after it, so existing ones are ended. */
  double(): void {
    this.doubles = true;
    for (const pair of [...this.pairs]) this.end(pair);
  }

  /** The next upload (a PUT over HTTP that says its length) is cut when half of its body was sent. */
  cutNextUpload(): void {
    this.cutsNextUpload = true;
  }

  /** All as it should be again. */
  heal(): void {
    this.isCut = false;
    this.dripMs = 0;
    this.cutsNextUpload = false;
    if (this.doubles) for (const pair of [...this.pairs]) this.end(pair);
    this.doubles = false;
  }

  async stop(): Promise<void> {
    const closed = once(this.listener, 'close');
    this.listener.close();
    this.isCut = true;
    for (const pair of [...this.pairs]) this.end(pair);
    await closed;
  }

  private join(client: Socket): void {
    if (this.isCut) {
      client.resetAndDestroy();
      return;
    }
    const server = connect(this.target());
    const pair: Pair = { client, server, doubler: new NatsDoubler() };
    this.pairs.add(pair);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        this.pairs.delete(pair);
        client.destroy();
        server.destroy();
      });
    }
    client.on('data', (chunk) => this.up(pair, chunk));
    const doubles = this.doubles;
    server.on('data', (chunk) => {
      const before = pair.doubler.doubled;
      const bytes = doubles ? pair.doubler.push(chunk) : chunk;
      this.counts.doubled += pair.doubler.doubled - before;
      if (!client.write(bytes)) {
        server.pause();
        client.once('drain', () => server.resume());
      }
      if (this.dripMs === 0) return;
      this.counts.dripped += 1;
      server.pause();
      setTimeout(() => server.resume(), this.dripMs);
    });
    client.on('end', () => server.end());
    server.on('end', () => client.end());
  }

  private up(pair: Pair, chunk: Buffer): void {
    if (this.cutsNextUpload && chunk.toString('latin1', 0, 4) === 'PUT ') {
      const head = chunk.toString('latin1').split('\r\n\r\n')[0] ?? '';
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? Number.NaN);
      if (length > 1) {
        this.cutsNextUpload = false;
        pair.uploadLeftBytes = head.length + 4 + Math.floor(length / 2);
      }
    }
    if (pair.uploadLeftBytes !== undefined) {
      const part = chunk.subarray(0, pair.uploadLeftBytes);
      pair.uploadLeftBytes -= part.length;
      if (pair.uploadLeftBytes === 0) {
        this.counts.uploadsCut += 1;
        pair.server.write(part, () => this.end(pair));
        return;
      }
    }
    if (!pair.server.write(chunk)) {
      pair.client.pause();
      pair.server.once('drain', () => pair.client.resume());
    }
  }

  private end(pair: Pair): void {
    this.pairs.delete(pair);
    this.counts.cut += 1;
    pair.client.resetAndDestroy();
    pair.server.resetAndDestroy();
  }
}
