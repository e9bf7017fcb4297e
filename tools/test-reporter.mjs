/** A vitest reporter that writes what the built-in JSON one leaves out: why a test was skipped. */
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { root } from './checkout.mjs';

export default class TestReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const report = { passed: 0, failed: [], skipped: [] };
    for (const module of modules) {
      const file = relative(root, module.moduleId);
      const tests = [...module.children.allTests()];
      for (const test of tests) count(report, `${file} > ${test.fullName}`, test.result());
      // A file that could not be loaded has failed although it has no failed test.
      if (module.state() === 'failed' && !tests.some((test) => test.result().state === 'failed'))
        report.failed.push(file);
    }
    for (const error of unhandledErrors) report.failed.push(`outside of any test: ${error.message}`);
    writeFileSync(process.env.PLUMBLINE_TEST_REPORT, JSON.stringify(report));
  }
}

function count(report, name, { state, note }) {
  if (state === 'passed') report.passed += 1;
  else if (state === 'failed') report.failed.push(name);
  else report.skipped.push({ name, reason: note ?? 'no reason given' });
}
