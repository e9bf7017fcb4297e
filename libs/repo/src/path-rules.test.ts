import { describe, expect, it } from 'vitest';
import { pathProblem } from './path-rules.js';

describe('pathProblem', () => {
  const names = [
    '.git',
    '.GIT',
    '.Git',
    '.git ',
    '.git.',
    '.git . .',
    '.git:x',
    '.git::$INDEX_ALLOCATION',
    'git~1',
    'GIT~12',
  ];
  it.each([...names, '.g\u200cit', '\ufeff.git', 'a\\.git\\b'])('refuses the spelling %j at any depth', (name) => {
    for (const path of [name, `a/${name}`, `${name}/config`]) expect(pathProblem(path)).toBe('is a spelling of .git');
  });

  it.each(['', '/a', 'a//b', 'a/', '.', '..', 'a/../b', './a'])('refuses the segments of %j', (path) => {
    expect(pathProblem(path)).toBe('has an empty, . or .. segment');
  });

  it.each([
    '.gitignore',
    '.github/x',
    'git',
    'a.git',
    'x.git/y',
    '.gitx',
    'git~',
    '-rf',
    'new\nline',
    'a b',
    '...',
    'ü',
  ])('accepts %j', (path) => {
    expect(pathProblem(path)).toBeNull();
  });
});
