import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout this program was built in: services and tools are taken from it. */
export const checkout = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', '..');
