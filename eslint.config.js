import { builtinModules } from 'node:module';
import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';
import prettier from 'eslint-config-prettier';

/** The rule of the house: which room may know which (see ARCHITECTURE.md, "Boundaries"). */
const depConstraints = [
  { sourceTag: 'type:domain', onlyDependOnLibsWithTags: [], allowedExternalImports: ['zod'] },
  { sourceTag: 'type:adapter', onlyDependOnLibsWithTags: ['type:domain', 'type:adapter', 'type:testing'] },
  { sourceTag: 'type:host', onlyDependOnLibsWithTags: ['type:domain', 'type:adapter', 'type:testing'] },
  { sourceTag: 'type:testing', onlyDependOnLibsWithTags: ['type:domain', 'type:adapter', 'type:host'] },
  { sourceTag: 'type:service', onlyDependOnLibsWithTags: ['type:domain', 'type:adapter', 'type:host', 'type:testing'] },
  { sourceTag: 'type:proof', onlyDependOnLibsWithTags: ['type:domain', 'type:adapter', 'type:host', 'type:testing'] },
  { sourceTag: 'type:app', onlyDependOnLibsWithTags: ['type:domain', 'type:adapter', 'type:testing'] },
];

const banNest = { group: ['@nestjs/*'], message: 'Nest lives in services and libs/host only.' };
const banTesting = {
  group: ['@plumbline/testing', '@plumbline/testing/*'],
  message: 'Only tests (*.test.ts) and libs/testing may use @plumbline/testing.',
};

/** `no-restricted-imports` does not look at `import()`, so the same bans stand once more as syntax. */
const banNestAtRunTime = { selector: 'ImportExpression[source.value=/^@nestjs\\u002F/]', message: banNest.message };
const banTestingAtRunTime = {
  selector: 'ImportExpression[source.value=/^@plumbline\\u002Ftesting/]',
  message: banTesting.message,
};

/** `Date` and `Math` under their own names only: renamed, passed on or taken apart they could hide the clock and luck. */
const ownNameOnly = [
  'Identifier[name=/^(Date|Math)$/]',
  ...[
    'NewExpression > .callee',
    'CallExpression > .callee',
    'MemberExpression > .object',
    'BinaryExpression > .right',
    'TSTypeReference > *',
  ],
].reduce((selector, allowed) => `${selector}:not(${allowed})`);

export default [
  { ignores: ['**/dist/**', '**/node_modules/**', '**/sample/**', 'tools/**', '.tools/**'] },
  ...tseslint.configs.recommended.map((config) => ({ ...config, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    plugins: { '@nx': nx },
    languageOptions: { parser: tseslint.parser },
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        {
          depConstraints,
          enforceBuildableLibDependency: false,
          allowCircularSelfDependency: true,
          banTransitiveDependencies: false,
        },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': 'off',
      eqeqeq: 'error',
      'max-lines': ['error', { max: 500, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    files: ['**/*.test.ts', '**/*.fixture.ts', 'libs/testing/src/**/*.ts'],
    rules: { '@nx/enforce-module-boundaries': 'off', 'max-lines': 'off' },
  },
  {
    files: ['libs/!(host|testing)/src/**/*.ts', 'apps/*/src/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [banNest, banTesting] }],
      'no-restricted-syntax': ['error', banNestAtRunTime, banTestingAtRunTime],
    },
  },
  {
    files: ['services/*/src/**/*.ts', 'libs/host/src/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [banTesting] }],
      'no-restricted-syntax': ['error', banTestingAtRunTime],
    },
  },
  {
    files: ['libs/domain/src/**/*.ts'],
    ignores: ['**/*.test.ts'],
    // Here a rule is not switched off by a comment.
    linterOptions: { noInlineConfig: true },
    rules: {
      'no-restricted-imports': [
        'error',
        {
          paths: builtinModules.map((name) => ({ name, message: 'The domain does no I/O.' })),
          patterns: [{ group: ['node:*'], message: 'The domain does no I/O.' }, banNest, banTesting],
        },
      ],
      'no-restricted-globals': [
        'error',
        'globalThis',
        'global',
        'require',
        'eval',
        'Function',
        'process',
        'fetch',
        'setTimeout',
        'setInterval',
        'setImmediate',
        'queueMicrotask',
        'crypto',
        'performance',
        'console',
        'Buffer',
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector: "MemberExpression[object.name='Date'][property.name='now']",
          message: 'The domain has no clock: take the instant as an argument.',
        },
        {
          selector: "NewExpression[callee.name='Date'][arguments.length=0]",
          message: 'The domain has no clock: take the instant as an argument.',
        },
        {
          selector: "CallExpression[callee.name='Date']",
          message: 'The domain has no clock: take the instant as an argument.',
        },
        {
          selector: "MemberExpression[object.name='Math'][property.name='random']",
          message: 'The domain has no luck: take the seed as an argument.',
        },
        { selector: 'ImportExpression', message: 'The domain imports statically.' },
        {
          selector: 'MemberExpression[computed=true][object.name=/^(Date|Math)$/]',
          message: 'The domain has no clock and no luck.',
        },
        {
          selector: ownNameOnly,
          message: 'Use Date and Math by their own names, so that clock and luck stay visible.',
        },
      ],
    },
  },
  prettier,
];
