export { takeSnapshot, type Snapshot, type SnapshotRequest } from './snapshot.js';
export {
  sealWorkspace,
  commitChange,
  writeTree,
  type Author,
  type Commit,
  type SealedWorkspace,
  type Workspace,
} from './workspace.js';
export { bundleChange, openChange, type OpenedChange } from './change.js';
export { exportTree, type ExportedTree } from './export-tree.js';
export { diffTrees, diffHunks, type FileDiff, type Hunk, type TreeChange } from './diff.js';
export { ignoredPaths } from './ignored-paths.js';
export { listTree, readBlob, type TreeEntry } from './tree-entries.js';
export { publishBranch, type Published } from './publish.js';
export { GitError, type GitErrorCode } from './git-error.js';
export { pathProblem } from './path-rules.js';
export type { Credential } from './git.js';
export type { ObjectFormat } from './object-store.js';
