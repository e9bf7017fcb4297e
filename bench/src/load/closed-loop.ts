/**
 * `callers` that call again as soon as they are answered, for `seconds`. Returns completed calls per second, up to the last answer. The
 * first failure ends all of it.
 */
export async function closedLoop(
  callers: number,
  seconds: number,
  call: (caller: number) => Promise<unknown>,
): Promise<number> {
  let calls = 0;
  const startedAt = performance.now();
  const until = startedAt + seconds * 1_000;
  const caller = async (index: number): Promise<void> => {
    while (performance.now() < until) {
      await call(index);
      calls++;
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, index) => caller(index)));
  return (calls * 1_000) / (performance.now() - startedAt);
}
