import { METHOD_METADATA, MODULE_METADATA, PATH_METADATA } from '@nestjs/common/constants.js';
import { RequestMethod } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import { ledgerConfig } from '../config.js';
import { LedgerModule } from '../ledger.module.js';
import { apiControllers } from './api-controllers.js';
import { Contract, operationsOf, type Answer, type ApiDocument, type Operation } from './contract.fixture.js';
import { openApiDocument } from './openapi.js';

const fresh = (): ApiDocument => structuredClone(openApiDocument()) as unknown as ApiDocument;

/** `METHOD /path` of everything a controller serves. */
function served(controller: { prototype: object }): string[] {
  const { prototype } = controller;
  return Object.getOwnPropertyNames(prototype).flatMap((name) => {
    const handler = (prototype as Record<string, unknown>)[name];
    if (typeof handler !== 'function') return [];
    const method = Reflect.getMetadata(METHOD_METADATA, handler) as RequestMethod | undefined;
    const path = Reflect.getMetadata(PATH_METADATA, handler) as string | undefined;
    return method === undefined || path === undefined ? [] : [`${RequestMethod[method]} ${path}`];
  });
}

describe('the routes that are served and the document', () => {
  const documented = operationsOf(fresh()).map(({ method, path }) => `${method} ${path.replace(/\{(\w+)\}/g, ':$1')}`);

  it('are the same', () => {
    expect(apiControllers.flatMap(served).sort()).toEqual(documented.sort());
  });

  it('are all there is: the module has no other controllers, and no controller a prefix', () => {
    const config = ledgerConfig.parse({
      PLUMB_DATABASE_URL: 'postgres://u@127.0.0.1/d',
      PLUMB_API_TOKEN: '0123456789abcdef',
    });
    expect(LedgerModule.with(config).controllers).toEqual([...apiControllers]);
    expect(Reflect.getMetadata(MODULE_METADATA.CONTROLLERS, LedgerModule)).toBeUndefined();
    for (const controller of apiControllers) expect(Reflect.getMetadata(PATH_METADATA, controller)).toBe('/');
  });
});

/** The test of the test: a document that lies about the API has to be found out, for each way of lying. */
describe('the contract', () => {
  const head = { schema: 'plumbline.head/1', epoch: 'e', position: 3, chainHash: 'ab' };
  const answer = (change: Partial<Answer> = {}): Answer => ({
    status: 200,
    headers: { 'content-type': 'application/json; charset=utf-8' },
    body: JSON.stringify(head),
    ...change,
  });
  const complaints = (given: Answer, lie: (document: ApiDocument) => void = () => undefined): string[] => {
    const document = fresh();
    lie(document);
    const operation = operationsOf(document).find(({ operationId }) => operationId === 'getHead') as Operation;
    return new Contract(document).complaints(operation, given);
  };
  const schema = (document: ApiDocument) =>
    document.components.schemas['head'] as { properties: Record<string, object>; required: string[] };
  const responses = (document: ApiDocument) => document.paths['/v1/head']?.['get']?.responses ?? {};

  it('finds nothing wrong with what is right', () => expect(complaints(answer())).toEqual([]));

  it.each<[string, (document: ApiDocument) => void]>([
    ['leaves a field out', (document) => delete schema(document).properties['epoch']],
    ['demands a field that is not there', (document) => schema(document).required.push('more')],
    ['gives a field another type', (document) => (schema(document).properties['position'] = { type: 'string' })],
    ['does not know the status', (document) => delete responses(document)['200']],
    [
      'names another media type',
      (document) => (responses(document)['200'] = { content: { 'text/plain': { schema: {} } } }),
    ],
  ])('finds a document that %s', (_, lie) => {
    expect(complaints(answer(), lie)).not.toEqual([]);
  });

  it.each<[string, Partial<Answer>]>([
    ['has a field too many', { body: JSON.stringify({ ...head, secret: 1 }) }],
    ['lacks a field', { body: JSON.stringify({ ...head, chainHash: undefined }) }],
    ['fails', { status: 500 }],
    ['is of another type', { headers: { 'content-type': 'text/html' } }],
    ['refuses in another shape', { status: 404, body: '{"message":"no"}' }],
  ])('finds an answer that %s', (_, change) => {
    expect(complaints(answer(change))).not.toEqual([]);
  });

  it('counts what was never seen', () => {
    const contract = new Contract(fresh());
    expect(contract.unseen()).toContain('getHead 200');
    const operation = operationsOf(contract.document).find(({ operationId }) => operationId === 'getHead') as Operation;
    contract.complaints(operation, answer());
    expect(contract.unseen()).not.toContain('getHead 200');
    expect(contract.unseen()).toContain('getHead 503');
  });
});
