import { eventTypes } from '@plumbline/domain';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createPalette } from '../terminal/palette.js';
import { eventText } from '../terminal/event-text.js';
import { columnsMax, length } from '../terminal/text.js';
import type { EventDocument } from './documents.js';
import { eventLine } from './event-line.js';

const event = (type: string, data: unknown): EventDocument => ({
  position: 1,
  at: '2026-11-21T10:20:30.000Z',
  type,
  data,
});

describe('eventLine', () => {
  it('says what counts, in its tone', () => {
    const judged = (verdict: string, checks: string[]) =>
      eventLine(event('verdict.reached', { judgement: { verdict, reasons: checks.map((check) => ({ check })) } }));
    expect(judged('GO', [])).toEqual({ text: 'GO', tone: 'good' });
    expect(judged('NO-GO', ['scope', 'evidence', 'scope'])).toEqual({ text: 'NO-GO: scope, evidence', tone: 'bad' });
    expect(judged('INCOMPLETE', ['gate']).tone).toBe('warn');
    const result = { check: 'scope', outcome: 'fail', summary: 'touches none' };
    expect(eventLine(event('check.concluded', { result }))).toEqual({
      text: 'check scope: fail, touches none',
      tone: 'bad',
    });
    expect(eventLine(event('check.concluded', { result: { ...result, outcome: 'pass' } })).tone).toBe('quiet');
  });

  it('never fails on data of another version, and shows types it does not know', () => {
    expect(eventLine(event('task.teleported', {}))).toEqual({ text: 'task.teleported', tone: 'plain' });
    fc.assert(
      fc.property(fc.constantFrom(...eventTypes), fc.jsonValue(), (type, data) => {
        expect(eventLine(event(type, data)).text).not.toBe('');
      }),
    );
  });

  it('fits the terminal whatever is in the event', () => {
    const title = `\u001b[31m${'long '.repeat(200)}`;
    const text = eventText(createPalette(false), event('task.submitted', { issue: { title } }), 'prefix  ');
    expect(length(text)).toBeLessThanOrEqual(columnsMax);
    expect(text).not.toContain('\u001b');
    expect(text).toMatch(/^prefix {2}10:20:30 {2}task\.submitted/);
  });
});
