/** Something the profile says it cannot do, with what would help. A check that needs it is `unknown`, never a pass. */
export interface NotRunnable {
  readonly kind: 'not-runnable';
  readonly why: string;
  readonly hint: string;
}

/** How the project is built: shell commands of base, in order; or base shows that there is nothing to build. */
export type BuildPlan =
  | { readonly kind: 'commands'; readonly commands: readonly string[] }
  | { readonly kind: 'none'; readonly predicate: string }
  | NotRunnable;

/** Tests run by node:test. */
export interface NodeTestPlan {
  readonly kind: 'node-test';
  /** Shell commands of base that come before the runner. */
  readonly prepare: readonly string[];
  /** Which files are test files, by their path in the tree. */
  readonly patterns: readonly RegExp[];
  /** Options of node for the processes of test files. */
  readonly execArgv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly only: boolean;
}

/** One kind for each runner whose structured report is understood. */
export type TestPlan = NodeTestPlan | NotRunnable;

/** How a repository is built and tested, as its base says. Nothing of a change is in it. */
export interface Profile {
  readonly name: 'node' | 'generic';
  readonly build: BuildPlan;
  readonly tests: TestPlan;
  /** Files of base that its commands run or read as configuration: they are run as base has them. */
  readonly harnessFiles: readonly string[];
}
