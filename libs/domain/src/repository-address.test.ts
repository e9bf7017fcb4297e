import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRepositoryUrl, parseRevision } from './repository-address.js';

const remote = (url: string) => parseRepositoryUrl(url, { allowLocal: false });
const local = (url: string) => parseRepositoryUrl(url, { allowLocal: true });

describe('parseRepositoryUrl', () => {
  it.each([
    ['https://example.org/team/project.git', 'https'],
    ['https://example.org:8443/p', 'https'],
    ['HTTPS://example.org/p', 'https'],
    ['https://[::1]:8080/p', 'https'],
    ['ssh://git@example.org:2222/team/project', 'ssh'],
    ['ssh://example.org/p', 'ssh'],
    ['git@example.org:team/project.git', 'ssh'],
  ])('accepts %s', (url, transport) => {
    expect(remote(url)).toEqual({ ok: true, value: { url, transport } });
  });

  it('accepts local addresses only when allowed', () => {
    for (const url of ['/srv/git/p.git', 'file:///srv/git/p.git', '/srv/my projects/p ü']) {
      expect(local(url)).toEqual({ ok: true, value: { url, transport: 'file' } });
      expect(remote(url).ok).toBe(false);
    }
  });

  it.each([
    ...[
      '',
      '-',
      '--upload-pack=touch /tmp/x',
      '-oProxyCommand=x',
      'ext::sh -c id',
      'ext::id',
      'fd::7',
      'EXT::id',
      'a::b',
    ],
    ...[
      'http://example.org/p',
      'git://example.org/p',
      'ftp://example.org/p',
      'javascript:alert(1)',
      'example.org/p',
      '../p',
      'p',
    ],
    ...['https://user:secret@example.org/p', 'https://token@example.org/p', 'ssh://git:pw@example.org/p'],
    ...[
      'ssh://-oProxyCommand=id/p',
      'ssh://-x@example.org/p',
      '-x@example.org:p',
      'git@-oProxyCommand=id:p',
      'git@example.org:-p',
    ],
    ...[
      'https://example.org/../p',
      'https://example.org/a/%2e%2E/p',
      'git@example.org:../p',
      'ssh://example.org/a/..',
      'https://example.org/a%2f..%2fb',
    ],
    ...[
      'https://example.org/p\n',
      'https://example.org/\u0000',
      'https://example.org/a b',
      'file:///a b',
      '/a\u00a0b',
      '/a\tb',
      'ext::sh -c /p',
      'https://example.org/p?x',
      'https://example.org/p#x',
    ],
    ...[
      'https://',
      'https:///p',
      'https://example.org',
      'https://example.org/',
      'https://example.org:99999/p',
      'https://exa$mple.org/p',
    ],
    ...['file://host/p', 'file:p', '//host/p', '/a/../b', 'file:///a/../b', `https://example.org/${'a'.repeat(3000)}`],
  ])('refuses %j', (url) => {
    expect(local(url)).toMatchObject({ ok: false, problem: { field: 'url', expected: expect.any(String) as string } });
  });

  it('never repeats a secret in the refusal', () => {
    expect(JSON.stringify(remote('https://user:hunter2@example.org/p'))).not.toContain('hunter2');
  });

  it('accepts nothing that git could take for an option or a helper', () => {
    const hostile = fc.oneof(
      fc.string(),
      fc.string().map((s) => `-${s}`),
      fc.string().map((s) => `ext::${s}`),
      fc.string().map((s) => `https://${s}`),
    );
    fc.assert(
      fc.property(hostile, (url) => {
        const parsed = local(url);
        if (!parsed.ok) return;
        expect(url).not.toMatch(/^-|::(?!\d*[\]\d])|[^\S ]|@.*@/);
        expect(url.startsWith('/') || !url.includes(' ')).toBe(true);
        expect(url.split('/')).not.toContain('..');
      }),
      { seed: 7, numRuns: 2000 },
    );
  });
});

describe('parseRevision', () => {
  it.each([
    'main',
    'HEAD',
    'feature/a-b',
    'v1.2.3',
    'refs/heads/main',
    'a'.repeat(40),
    'main~3',
    'main^',
    'v1^2~4',
    'x@y',
  ])('accepts %s', (rev) => {
    expect(parseRevision(rev)).toEqual({ ok: true, value: rev });
  });

  it.each([
    ...[
      '',
      '-f',
      '--upload-pack=id',
      'a..b',
      'a...b',
      'main@{1}',
      '@{u}',
      '@',
      'HEAD:file',
      ':/text',
      'main^{/x}',
      '^main',
      '~1',
    ],
    ...[
      'a b',
      'a\nb',
      'a\tb',
      'a*',
      'a?',
      'a[b',
      'a\\b',
      '/a',
      'a/',
      'a//b',
      '.a',
      'a/.b',
      'a.lock',
      'a.lock/b',
      'a.',
      'a\u0007',
      'a'.repeat(3000),
    ],
  ])('refuses %j', (rev) => {
    expect(parseRevision(rev)).toMatchObject({ ok: false, problem: { field: 'revision', value: rev } });
  });
});
