import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Only our own condition: 'import' here would reach require() too and hand CommonJS packages an ES module.
  ssr: { resolve: { conditions: ['@plumbline/source'] } },
  resolve: { conditions: ['@plumbline/source'] },
  test: {
    include: [
      'libs/**/src/**/*.test.ts',
      'services/**/src/**/*.test.ts',
      'apps/**/src/**/*.test.ts',
      'bench/src/**/*.test.ts',
      'sim/src/**/*.test.ts',
      'tools/**/*.test.ts',
    ],
    exclude: ['**/node_modules/**', '**/dist/**', '**/sample/**'],
    // Bounds against hanging, not measures of speed: machines that run this are busy.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
  },
});
