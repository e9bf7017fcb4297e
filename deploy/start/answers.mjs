/** Health check of a service's container: ends with 0 when the service says that it is ready, which includes what it depends on. */
const url = `http://127.0.0.1:${process.env.PLUMB_HTTP_PORT}/ready`;

try {
  const response = await fetch(url, { signal: AbortSignal.timeout(4_000) });
  // Docker keeps what is said here: `docker inspect` shows why a service is not ready.
  process.stdout.write(await response.text());
  process.exitCode = response.ok ? 0 : 1;
} catch (error) {
  process.stdout.write(`${url} does not answer: ${error.cause?.message ?? error.message}\n`);
  process.exitCode = 1;
}
