import type { ChatMessage } from '@plumbline/model';
import type { Issue } from '@plumbline/domain';

const pathsMax = 200;

/** The messages a run begins with: the rules, then the issue with what earlier attempts were told and the files there are. */
export function openingOf(given: {
  readonly system: string;
  readonly issue: Issue;
  readonly feedback: readonly string[];
  readonly paths: readonly string[];
}): Extract<ChatMessage, { role: 'system' | 'user' }>[] {
  const { issue, feedback, paths } = given;
  const parts = [`# Issue: ${issue.title}`, issue.body];
  if (feedback.length > 0)
    parts.push('# Why an earlier attempt was not accepted', feedback.map((line) => `- ${line}`).join('\n'));
  const rest = paths.length > pathsMax ? `\n(${paths.length - pathsMax} more files)` : '';
  parts.push('# Files', paths.slice(0, pathsMax).join('\n') + rest);
  return [
    { role: 'system', content: given.system },
    { role: 'user', content: parts.join('\n\n').toWellFormed() },
  ];
}
