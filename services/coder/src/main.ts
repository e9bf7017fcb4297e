import { startService } from '@plumbline/host';
import { coderConfigSchema } from './config.js';
import { CoderModule } from './module.js';

await startService({ name: 'coder', config: coderConfigSchema, module: () => CoderModule });
