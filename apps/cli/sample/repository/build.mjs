/** Writes the modules of src to dist as JavaScript: types are stripped, imports of .ts become imports of .js. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist');
for (const name of readdirSync('src').filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))) {
  const script = stripTypeScriptTypes(readFileSync(join('src', name), 'utf8'));
  const linked = script.replace(/(from '\.\/[^']+)\.ts'/g, "$1.js'");
  writeFileSync(join('dist', name.replace(/\.ts$/, '.js')), linked);
}
