import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { taskId } from '../test/builders.js';
import * as contracts from './contracts.js';

const at = '2026-11-20T09:30:00.000Z';
const check = {
  schema: 'plumbline.check/1',
  verdict: 'NO-GO',
  subject: { base: 'a', head: 'b', tree: 'c', changeClass: ['behaviour'], languages: ['go'] },
  reasons: [{ check: 'bite', effect: 'block', summary: 'inert', evidence: [] }],
  checks: [
    {
      check: 'bite',
      outcome: 'fail',
      effect: 'block',
      durationMs: 1.5,
      findings: [{ path: 'a_test.go', line: 3, message: 'inert' }],
    },
  ],
  bite: {
    candidates: [{ id: 'TestA', file: 'a_test.go', line: 3, grade: 'inert', why: 'passes on the old code' }],
    hunks: [
      { path: 'a.go', startLine: 1, endLine: 2, killedBy: 'survived' },
      { path: 'b.go', startLine: 1, endLine: 2, killedBy: ['TestB'] },
    ],
  },
  advice: [],
  environment: { sandbox: 'bubblewrap', isolation: 'strong', toolchains: { go: '1.24' } },
  durationMs: 12,
};
const examples: [z.ZodType, Record<string, unknown>][] = [
  [contracts.checkDocumentSchema, check],
  [
    contracts.demoDocumentSchema,
    {
      schema: 'plumbline.demo/1',
      tasks: [{ id: taskId, name: 'good', verdict: 'GO', reasons: [] }],
      log: { events: 3, positions: 'dense', chain: 'ok' },
    },
  ],
  [
    contracts.tasksDocumentSchema,
    {
      schema: 'plumbline.tasks/1',
      tasks: [
        {
          id: taskId,
          state: 'coding',
          title: 'T',
          waitingFor: 'a worker',
          repository: 'https://example.com/r.git',
          base: 'main',
          policy: 'strict',
          priority: 'normal',
          attempts: 1,
          source: 'somebody',
          submissionId: '1',
          submittedAt: at,
          updatedAt: at,
        },
      ],
    },
  ],
  [
    contracts.whyDocumentSchema,
    {
      schema: 'plumbline.why/1',
      subject: taskId,
      state: 'coding',
      reasons: [{ code: 'C', message: 'm', numbers: { n: 1 } }],
    },
  ],
  [
    contracts.auditDocumentSchema,
    { schema: 'plumbline.audit/1', ok: false, events: 3, headPosition: 3, firstBad: { position: 2, what: 'hash' } },
  ],
  [
    contracts.doctorDocumentSchema,
    { schema: 'plumbline.doctor/1', ok: true, findings: [{ what: 'git', state: 'ok' }] },
  ],
  [
    contracts.benchDocumentSchema,
    {
      schema: 'plumbline.bench/1',
      bench: 'append',
      machine: { cpus: 2 },
      results: [
        { name: 'n', value: 1, unit: 's', baseline: { name: 'b', value: 2 }, ratio: 0.5, target: 1, met: true },
      ],
    },
  ],
  [
    contracts.errorDocumentSchema,
    {
      schema: 'plumbline.error/1',
      code: 'INVALID',
      message: 'm',
      problems: [{ field: 'f', value: 'v', expected: 'e' }],
    },
  ],
  [
    contracts.eventDocumentSchema,
    {
      schema: 'plumbline.event/1',
      position: 1,
      at,
      type: 'task.submitted',
      task: taskId,
      schemaVersion: 1,
      data: {},
      eventId: 'e',
      streamId: `task-${taskId}`,
      version: 1,
      chainHash: 'ab',
    },
  ],
  [
    contracts.escalationsDocumentSchema,
    {
      schema: 'plumbline.escalations/1',
      escalations: [
        {
          task: taskId,
          title: 'T',
          escalation: 'e',
          attempt: 0,
          reasons: ['r'],
          tried: [{ attempt: 1, model: 'm', verdict: 'NO-GO' }],
        },
      ],
    },
  ],
  [
    contracts.deadDocumentSchema,
    {
      schema: 'plumbline.dead/1',
      dead: [{ id: '1', subject: 's', consumer: 'c', reason: 'r', deliveries: 1, deadAt: at }],
    },
  ],
];

describe('documents that machines read', () => {
  it.each(examples.map(([schema, document]) => [document.schema as string, schema, document] as const))(
    '%s',
    (_name, schema, document) => {
      expect(schema.parse(document)).toEqual(document);
      // Fields are added over time; a reader of today must not fail on one of tomorrow.
      expect(schema.safeParse({ ...document, added: 1 }).success).toBe(true);
      expect(schema.safeParse({ ...document, schema: 'plumbline.other/1' }).success).toBe(false);
      for (const field of Object.keys(document).filter((key) => !['bite', 'task', 'data'].includes(key))) {
        const { [field]: _gone, ...rest } = document;
        expect(schema.safeParse(rest).success, `without ${field}`).toBe(false);
      }
      expect(() => z.toJSONSchema(schema)).not.toThrow();
    },
  );
  it('cannot say GO with reasons, or anything else without', () => {
    const verdictOf = (verdict: string, reasons: unknown[]): boolean =>
      contracts.checkDocumentSchema.safeParse({ ...check, verdict, reasons }).success;
    expect(verdictOf('GO', [])).toBe(true);
    expect(verdictOf('GO', check.reasons)).toBe(false);
    expect(verdictOf('INCOMPLETE', [])).toBe(false);
    expect(verdictOf('GO-WAIVED', check.reasons)).toBe(true);
  });
  it('cannot say that a log is ok and name what is bad', () => {
    const audit = { schema: 'plumbline.audit/1', ok: true, events: 0, headPosition: 0 };
    expect(contracts.auditDocumentSchema.safeParse(audit).success).toBe(true);
    expect(contracts.auditDocumentSchema.safeParse({ ...audit, firstBad: { position: 1, what: 'x' } }).success).toBe(
      false,
    );
  });
});
