import {
  artifactDocumentSchema,
  auditDocumentSchema,
  escalationDocumentSchema,
  escalationsDocumentSchema,
  fleetDocumentSchema,
  headDocumentSchema,
  logDocumentSchema,
  prioritySchema,
  publishedVerdictSchema,
  taskDocumentSchema,
  taskStateSchema,
  tasksDocumentSchema,
  verdictDocumentSchema,
  verdictSchema,
  verdictsDocumentSchema,
  whyDocumentSchema,
} from '@plumbline/domain';
import { z } from 'zod';
import type { OperationShape } from './operation.js';
import * as p from './parameters.js';

const spans = ' Spans of time hold their beginning and not their end.';
const pages =
  ' `next` of an answer, given as `cursor` with the same filters, continues it; what is added meanwhile shifts nothing.';
const task = z.strictObject({ id: p.taskRef.describe('A task id, or the beginning of one that only it has.') });
const after = p.position.default(0).describe('Only what stands after this position of the log.');
const polled = z.strictObject({
  after,
  waitMs: p.waitMs.describe('How long to wait for the first event when there is none yet.'),
});
const streamed = {
  query: z.strictObject({ after }),
  headers: z.strictObject({
    'last-event-id': p.position.optional().describe('Position of the last event received; stronger than `after`.'),
  }),
  answers: {
    200: {
      description:
        'Server-sent events without end. `id` is the position in the log, `event` the type, `data` a `plumbline.event/1` on one line. Comments keep the connection alive. A reader that stops reading is cut off and resumes with `Last-Event-ID`.',
      media: 'text/event-stream',
    },
  },
  refusals: ['ahead-of-the-log'],
} as const;
const artifact = z.strictObject({ digest: p.digest.describe('SHA-256 of the bytes, in lower-case hex.') });
const artifactHeaders = {
  'x-plumbline-media-type': 'What the bytes are, as said by who stored them.',
  'content-length': 'Number of bytes.',
};

/** Every operation of the HTTP API. Controllers, parsing and the OpenAPI document are made of this table and nothing else. */
export const operations = {
  getOpenApi: {
    method: 'get',
    path: '/v1/openapi.json',
    tag: 'api',
    summary: 'This document',
    answers: { 200: { description: 'OpenAPI 3.1.', media: 'application/json' } },
    refusals: [],
    open: true,
  },
  listTasks: {
    method: 'get',
    path: '/v1/tasks',
    tag: 'tasks',
    summary: 'Tasks, the newest first',
    description: `All filters that are given must hold.${spans}${pages}`,
    query: z.strictObject({
      state: taskStateSchema.optional(),
      verdict: publishedVerdictSchema.optional().describe('The last verdict.'),
      repository: p.comparedText(2000).optional().describe('The URL as it was submitted.'),
      priority: prioritySchema.optional(),
      sourcePrefix: p.comparedText(500).optional().describe('The beginning of the source of the submission.'),
      submissionPrefix: p.comparedText(500).optional().describe('The beginning of the id of the submission.'),
      submittedSince: p.instant.optional(),
      submittedUntil: p.instant.optional(),
      updatedSince: p.instant.optional(),
      updatedUntil: p.instant.optional(),
      closedSince: p.instant.optional(),
      closedUntil: p.instant.optional(),
      limit: p.limit(200, 1_000),
      cursor: p.cursor,
    }),
    answers: { 200: { description: 'A page of tasks.', document: tasksDocumentSchema } },
    refusals: [],
  },
  getTask: {
    method: 'get',
    path: '/v1/tasks/{id}',
    tag: 'tasks',
    summary: 'A task with its attempts, verdict, escalations and timeline',
    params: task,
    answers: { 200: { description: 'The task.', document: taskDocumentSchema } },
    refusals: ['not-found'],
  },
  getTaskWhy: {
    method: 'get',
    path: '/v1/tasks/{id}/why',
    tag: 'tasks',
    summary: 'Why a task is where it is',
    params: task,
    answers: { 200: { description: 'The reasons, with their numbers.', document: whyDocumentSchema } },
    refusals: ['not-found'],
  },
  getTaskEvents: {
    method: 'get',
    path: '/v1/tasks/{id}/events',
    tag: 'tasks',
    summary: "A task's events after a position, at most 500, with long polling",
    params: task,
    query: polled,
    answers: { 200: { description: 'Events, oldest first.', document: logDocumentSchema } },
    refusals: ['not-found'],
  },
  followTask: {
    method: 'get',
    path: '/v1/tasks/{id}/timeline',
    tag: 'tasks',
    summary: "A task's timeline as server-sent events, from the first one on",
    params: task,
    ...streamed,
    refusals: ['not-found', 'ahead-of-the-log'],
  },
  getTaskVerdict: {
    method: 'get',
    path: '/v1/tasks/{id}/verdict',
    tag: 'verdicts',
    summary: 'The verdict on each attempt, with its reasons, folded again from the recorded evidence',
    params: task,
    answers: {
      200: { description: 'The verdicts; none for a task that was not judged yet.', document: verdictDocumentSchema },
    },
    refusals: ['not-found'],
  },
  listVerdicts: {
    method: 'get',
    path: '/v1/verdicts',
    tag: 'verdicts',
    summary: 'Verdicts as they were reached, the newest first',
    description: `${spans}${pages}`.trim(),
    query: z.strictObject({
      verdict: verdictSchema.optional(),
      policy: p.comparedText(60).optional(),
      since: p.instant.optional(),
      until: p.instant.optional(),
      limit: p.limit(100, 500),
      cursor: p.cursor,
    }),
    answers: { 200: { description: 'A page of verdicts.', document: verdictsDocumentSchema } },
    refusals: [],
  },
  listEscalations: {
    method: 'get',
    path: '/v1/escalations',
    tag: 'escalations',
    summary: 'What waits for a human, the longest waiting first; or what did',
    description: `\`open\`: waits for a human. \`resolved\`: somebody dealt with it. \`all\`: these and what went to a bigger tier.${pages}`,
    query: z.strictObject({
      state: z.enum(['open', 'resolved', 'all'], 'open, resolved or all').default('open'),
      limit: p.limit(200, 500),
      cursor: p.cursor,
    }),
    answers: { 200: { description: 'A page of escalations.', document: escalationsDocumentSchema } },
    refusals: [],
  },
  getEscalation: {
    method: 'get',
    path: '/v1/escalations/{escalation}',
    tag: 'escalations',
    summary: 'One escalation',
    params: z.strictObject({ escalation: p.escalationRef }),
    answers: { 200: { description: 'The escalation.', document: escalationDocumentSchema } },
    refusals: ['not-found'],
  },
  getFleet: {
    method: 'get',
    path: '/v1/fleet',
    tag: 'fleet',
    summary: 'Nodes, pools, models, grants, and the steps that wait for a model',
    answers: { 200: { description: 'The fleet as far as the log knows it.', document: fleetDocumentSchema } },
    refusals: [],
  },
  getHead: {
    method: 'get',
    path: '/v1/head',
    tag: 'log',
    summary: 'Where the log ends',
    answers: { 200: { description: 'Position and chain hash of the last event.', document: headDocumentSchema } },
    refusals: [],
  },
  readLog: {
    method: 'get',
    path: '/v1/log',
    tag: 'log',
    summary: 'Events of the whole log after a position, with long polling',
    query: polled.extend({ limit: p.limit(500, 1_000) }),
    answers: { 200: { description: 'Events, oldest first.', document: logDocumentSchema } },
    refusals: [],
  },
  followLog: {
    method: 'get',
    path: '/v1/log/stream',
    tag: 'log',
    summary: 'The whole log as server-sent events',
    ...streamed,
  },
  auditLog: {
    method: 'get',
    path: '/v1/audit',
    tag: 'log',
    summary: 'Recomputes the whole chain; takes as long as the log is',
    answers: { 200: { description: 'Whether the log is whole, or where it is not.', document: auditDocumentSchema } },
    refusals: [],
  },
  getArtifact: {
    method: 'get',
    path: '/v1/artifacts/{digest}',
    tag: 'artifacts',
    summary: 'The bytes with this digest',
    description:
      'Compare the digest of what arrives: an answer that breaks off is not the artifact. Ranges are not served.',
    params: artifact,
    answers: { 200: { description: 'The bytes.', media: 'application/octet-stream', headers: artifactHeaders } },
    refusals: ['not-found', 'gone'],
    uncounted: true,
  },
  headArtifact: {
    method: 'head',
    path: '/v1/artifacts/{digest}',
    tag: 'artifacts',
    summary: 'Whether there are bytes with this digest, how many and what they are',
    params: artifact,
    answers: { 200: { description: 'There are.', headers: artifactHeaders } },
    refusals: ['not-found', 'gone'],
    uncounted: true,
  },
  putArtifact: {
    method: 'put',
    path: '/v1/artifacts/{digest}',
    tag: 'artifacts',
    summary: 'Stores bytes under their digest; the same bytes twice are stored once',
    params: artifact,
    headers: z.strictObject({
      'x-plumbline-media-type': z
        .string()
        .regex(/^[\x20-\x7e]{1,100}$/, '1-100 printable ASCII characters')
        .optional()
        .describe('What the bytes are; else the content type.'),
    }),
    body: 'application/octet-stream',
    answers: { 200: { description: 'They are stored.', document: artifactDocumentSchema } },
    refusals: ['digest-mismatch', 'too-large'],
    uncounted: true,
  },
} as const satisfies Record<string, OperationShape>;
