export { openLocalFile } from './byte-source.js';
export type { ByteSource } from './byte-source.js';
export { ModelFileError } from './failure.js';
export type { ModelFileFault } from './failure.js';
export { readGguf } from './gguf-reader.js';
export type { GgufFile } from './gguf-reader.js';
