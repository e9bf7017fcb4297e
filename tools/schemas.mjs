#!/usr/bin/env node
// Writes the JSON Schemas of everything machines read (the documents of `--json`, what intake takes, every event's data) and the OpenAPI
// document of the ledger's API.
// `--check` writes nothing and fails when a file is not what it should be.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'docs', 'schemas');

/** File name → text of every schema, from the built domain. */
export async function schemaFiles() {
  const { z } = await import('zod');
  const domain = await import(pathToFileURL(join(root, 'libs', 'domain', 'dist', 'index.js')).href);
  const files = new Map();
  const add = (name, title, schema) => {
    const json = z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' });
    files.set(`${name}.json`, `${JSON.stringify({ title, ...json }, null, 2)}\n`);
  };
  for (const [name, schema] of Object.entries(domain)) {
    const document = /^(\w+)DocumentSchema$/.exec(name)?.[1];
    if (document !== undefined) add(`plumbline.${document}.1`, `plumbline.${document}/1`, schema);
  }
  for (const [kind, { schema, type }] of Object.entries(domain.intakeKinds))
    add(type.replace('dev.plumbline.', 'intake.'), type, schema);
  for (const [type, { version, data }] of Object.entries(domain.eventCatalogue))
    add(`event.${type}.v${version}`, domain.cloudEventType(type, version), data);
  return files;
}

/** The text of docs/openapi.json, from the built ledger. */
export async function openApiFile() {
  const built = join(root, 'services', 'ledger', 'dist', 'http', 'openapi.js');
  const { openApiDocument } = await import(pathToFileURL(built).href);
  return `${JSON.stringify(openApiDocument(), null, 2)}\n`;
}

async function main() {
  const files = await schemaFiles();
  const check = process.argv.includes('--check');
  mkdirSync(folder, { recursive: true });
  const present = new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
  const stale = [...files].filter(([name, text]) => present.get(name) !== text).map(([name]) => name);
  const extra = [...present.keys()].filter((name) => name.endsWith('.json') && !files.has(name));
  const apiPath = join(root, 'docs', 'openapi.json');
  const api = await openApiFile();
  if (!existsSync(apiPath) || readFileSync(apiPath, 'utf8') !== api) stale.push('openapi.json');
  if (check && stale.length + extra.length > 0) {
    console.error(
      `docs/schemas or docs/openapi.json is out of date (${[...stale, ...extra].join(', ')}); run: npm run schemas`,
    );
    process.exitCode = 1;
  } else if (!check) {
    for (const [name, text] of files) writeFileSync(join(folder, name), text);
    for (const name of extra) rmSync(join(folder, name));
    writeFileSync(apiPath, api);
    console.log(`${files.size} schemas in docs/schemas, docs/openapi.json, ${stale.length} changed`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
