#!/usr/bin/env node
try {
  const { runCli } = await import('./program.js');
  process.exitCode = await runCli(process.argv.slice(2));
} catch (error) {
  // Only a package that is not there comes out of this: everything else is reported where it belongs.
  if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
  process.stderr.write(
    `✗ ${(error as Error).message.split('\n')[0] ?? ''}.\n→ Run \`npm run setup\` in the checkout.\n`,
  );
  process.exitCode = 1;
}
