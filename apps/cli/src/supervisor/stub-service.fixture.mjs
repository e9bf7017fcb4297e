/** Stands in for a service in tests of the supervisor. What it does is in STUB: ready, silent, fail, stubborn. */
import { createServer } from 'node:http';

const behaviour = process.env.STUB ?? 'ready';
process.stdout.write(`${JSON.stringify({ level: 30, service: process.env.STUB_NAME, msg: 'hello' })}\n`);
if (behaviour === 'fail') {
  process.stdout.write(`${JSON.stringify({ msg: 'cannot start', err: { message: 'the moon is in the way' } })}\n`);
  process.exit(2);
}
const server = createServer((_, response) => response.end('ok'));
server.listen(Number(process.env.PLUMB_HTTP_PORT ?? 0), '127.0.0.1', () => {
  if (behaviour === 'silent') return;
  process.stdout.write(`${JSON.stringify({ msg: 'ready', http: `http://127.0.0.1:${server.address().port}` })}\n`);
});
process.on('SIGTERM', () => {
  process.stdout.write('bye\n');
  if (behaviour !== 'stubborn') process.exit(0);
});
