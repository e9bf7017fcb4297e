import { buildCheck } from './build.js';
import type { Check } from './check.js';
import { scopeCheck } from './scope.js';
import { testsCheck } from './tests.js';

/** Every check there is, in the order they are run: the quick ones first. */
export const allChecks: readonly Check[] = [scopeCheck, buildCheck, testsCheck];
