import type { Finding } from '@plumbline/domain';
import type { BuildRun } from '../workbench.js';
import type { Check, Conclusion } from './check.js';

const findingsMax = 50;

/** Whether the change still builds, by base's own build commands. */
export const buildCheck: Check = {
  id: 'build',
  version: 2,
  rule: "Base's build script, run on the change's files under base's configuration, ends with status 0. A build that fails on base as well says nothing.",
  async run({ profile, workbench, keep }) {
    const { build } = profile;
    if (build.kind === 'none')
      return { outcome: 'not-applicable', summary: 'there is nothing to build', predicate: build.predicate };
    if (build.kind === 'not-runnable') return { outcome: 'unknown', summary: `${build.why}. ${build.hint}` };
    const run = await workbench.build('head');
    if (run.kind === 'built')
      return { outcome: 'pass', summary: `${build.commands.length} build command(s) succeeded` };
    const log = await keep(run.log, 'text/plain');
    const evidence = log === null ? [] : [log];
    const base = await workbench.build('base');
    const conclusion = judgeFailure(run, base);
    return { ...conclusion, evidence };
  },
};

function judgeFailure(run: Exclude<BuildRun, { kind: 'built' }>, base: BuildRun): Conclusion {
  if (base.kind !== 'built')
    return {
      outcome: 'unknown',
      summary: `the build fails, on base as well (${base.what}); are the dependencies of base installed here?`,
    };
  if (run.kind === 'unclear')
    return { outcome: 'unknown', summary: `it cannot be told whether the build succeeded: ${run.what}` };
  return { outcome: 'fail', summary: `the build fails: ${run.what}`, findings: findingsOf(run.log) };
}

/** Errors as compilers write them: `path(line,col): error …` (tsc) and `path:line[:col]: …`, `path:line` before a message (node, esbuild). */
function findingsOf(log: string): Finding[] {
  const found = new Map<string, Finding>();
  const lines = log.split('\n');
  lines.forEach((line, index) => {
    const match =
      /^\s*([^\s():][^():]*)\((\d+),\d+\): (error .+)$/.exec(line) ??
      /^\s*(?:✘.*)?(?:file:\/\/)?([^\s:()][^:()]*):(\d+)(?::\d+)?(?::\s*(.*))?$/.exec(line);
    const path = match?.[1]?.replace(/^\/work\/tree\//, '');
    if (match === null || path === undefined || path.startsWith('/') || !/\.\w+$/.test(path)) return;
    const next = lines.slice(index + 1, index + 6).find((other) => /\b\w*Error\b/.test(other));
    const message = (match[3] ?? '') === '' ? (next ?? line) : (match[3] ?? '');
    found.set(`${path}:${match[2]}`, {
      path,
      line: Math.max(1, Number(match[2])),
      message: message.trim().slice(0, 1_000) || 'error',
    });
  });
  return [...found.values()].slice(0, findingsMax);
}
